"""Persistent HTTP/1.1 connections to one server: the sidecar.

A request is written in one piece, and httptools parses the response. The sidecar is local and
speaks plain HTTP/1.1. By default these connections carry the reads of services and of the sidecar's
metadata; with SIDECAR_API=http they carry every call. A general HTTP client takes three times as
long per call (docs/explanation/performance.md, ADR 23).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

import httptools

from sidecart.chassis.http2.errors import BrokenOff, NotConnected
from sidecart.chassis.settings import in_url

IDLE_SECONDS_MAX = 60.0  # shorter than the server's own limit for idle connections
RETRIED_METHODS = frozenset({"GET"})  # retried once if the server closes an idle connection first


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response with its ETag; other headers are dropped."""

    status: int
    body: bytes
    etag: str | None = None

    def __str__(self) -> str:
        return f"{self.status} {self.body[:300]!r}"


class _Connection(asyncio.Protocol):
    """One connection, with at most one request at a time."""

    def __init__(self) -> None:
        self.idle_since = 0.0
        self.is_open = False
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._body: list[bytes] = []
        self._etag: str | None = None

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        """Write a request and return the future of its response."""
        assert self._transport is not None
        assert self._answer is None, "one request at a time"
        self._answer = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._etag = [], None
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """Close the connection; later input is not read."""
        self.is_open = False
        self._answer = None
        if self._transport is not None:
            self._transport.abort()

    # --- Callbacks of asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Parse input; input that belongs to no request closes the connection."""
        if self._answer is None or self._parser is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenOff(f"not HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the pending request."""
        self._fail(BrokenOff(str(exc or "the connection was closed")))

    def _fail(self, error: BrokenOff) -> None:
        answer = self._answer
        self.close()
        if answer is not None and not answer.done():
            answer.set_exception(error)

    # --- Callbacks of the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store the ETag, the only header in use."""
        if name.lower() == b"etag":
            self._etag = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Store a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Complete the pending request."""
        answer, parser = self._answer, self._parser
        assert answer is not None
        assert parser is not None
        if parser.get_status_code() < 200:  # 100 Continue and the like: the response follows
            self._body, self._etag = [], None
            return
        self._answer = None
        if not parser.should_keep_alive():
            self.close()
        if not answer.done():
            answer.set_result(Answer(parser.get_status_code(), b"".join(self._body), self._etag))


class Connections:
    """A pool of connections, opened on demand up to a limit.

    The most recently used idle connection is used first.
    """

    def __init__(self, host: str, port: int, headers: dict[str, str], connections_max: int) -> None:
        self._host = host
        self._port = port
        self._free = asyncio.Semaphore(connections_max)
        self._idle: list[_Connection] = []
        lines = {"host": f"{in_url(host)}:{port}", **headers}
        if not all(f"{name}{value}".isascii() and f"{name}{value}".isprintable() for name, value in lines.items()):
            raise ValueError("a header of the sidecar's calls is not printable ASCII")
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    async def request(
        self, method: str, path: str, body: bytes | None, content_type: str, seconds: float, more_headers: str = ""
    ) -> Answer:
        """Send a request and return the whole response.

        Raise NotConnected, BrokenOff or TimeoutError. `path` and `more_headers` (whole lines) must
        be encoded for the wire. A call that is canceled or times out closes its connection.
        """
        if not (path.isascii() and path.isprintable() and " " not in path):
            raise ValueError(f"not a path that is encoded for the wire: {path[:200]!r}")
        head = f"{method} {path} HTTP/1.1\r\n{self._headers}{more_headers}"
        if body is None:
            request = f"{head}\r\n".encode()
        else:
            request = f"{head}content-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
        async with asyncio.timeout(seconds):
            async with self._free:
                return await self._send(method, request)

    async def _send(self, method: str, request: bytes) -> Answer:
        idle = self._idle_connection()
        if idle is not None:
            try:
                return await self._send_on(idle, request)
            except BrokenOff:
                if method not in RETRIED_METHODS:
                    raise
        return await self._send_on(await self._new(), request)

    async def _send_on(self, connection: _Connection, request: bytes) -> Answer:
        try:
            response = await connection.ask(request)
        except BaseException:
            connection.close()
            raise
        if connection.is_open:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        return response

    def _idle_connection(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now - connection.idle_since < IDLE_SECONDS_MAX:
                return connection
            connection.close()
        return None

    async def _new(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        except OSError as error:
            raise NotConnected(f"{self._host}:{self._port}: {error}") from error
        return connection

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()
