"""A gRPC server on the library h2, which checks each frame of the client and can send any."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    PingAckReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame

from sidecart.chassis.http2.channel import Channel
from sidecart.chassis.http2.header_blocks import RequestHead

METHOD = "/toy.Lamps/Switch"
RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]


@dataclass
class Request:
    """A complete request, and the connection on which it came."""

    peer: Peer
    stream_id: int
    headers: list[Any]
    body: bytes = b""

    @property
    def message(self) -> bytes:
        """The message without its prefix."""
        return self.body[5:]

    def reply(self, message: bytes | None = None, code: int = 0, text: str = "") -> None:
        """Send a whole response; by default the message of the request."""
        h2 = self.peer.h2
        body = self.message if message is None else message
        h2.send_headers(self.stream_id, RESPONSE)
        data = b"\x00" + len(body).to_bytes(4, "big") + body
        for start in range(0, len(data), 16_384):
            h2.send_data(self.stream_id, data[start : start + 16_384])
        h2.send_headers(self.stream_id, trailers(code, text), end_stream=True)
        self.peer.flush()

    def refuse(self, code: int, text: str = "") -> None:
        """Send a response of trailers only."""
        self.peer.h2.send_headers(self.stream_id, [*RESPONSE, *trailers(code, text)], end_stream=True)
        self.peer.flush()

    def reset(self, code: int) -> None:
        """End the stream."""
        self.peer.h2.reset_stream(self.stream_id, code)
        self.peer.flush()


def trailers(code: int, text: str = "") -> list[tuple[str, str]]:
    """Return the trailers of a response."""
    return [("grpc-status", str(code)), *([("grpc-message", text)] if text else [])]


class Peer:
    """One connection of the server."""

    def __init__(self, server: H2Server, writer: asyncio.StreamWriter) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.writer = writer
        self.open: dict[int, Request] = {}
        self._server = server
        initial = {SettingCodes.INITIAL_WINDOW_SIZE: 65_535, SettingCodes.MAX_CONCURRENT_STREAMS: 1_000_000}
        self.h2.local_settings = Settings(client=False, initial_values={**initial, **server.settings})

    def flush(self) -> None:
        """Send what h2 has to send."""
        self.writer.write(self.h2.data_to_send())

    def send(self, *frames: Frame) -> None:
        """Send frames that h2 knows nothing of."""
        self.writer.write(b"".join(frame.serialize() for frame in frames))

    def close(self) -> None:
        """Cut the connection."""
        self.writer.transport.abort()

    async def received(self, data: bytes) -> None:
        """Handle the bytes of the client; a violation of the protocol fails the test."""
        for event in self.h2.receive_data(data):
            match event:
                case RequestReceived(stream_id=number, headers=headers):
                    self.open[number] = Request(self, number, headers)
                    self._server.most_open = max(self._server.most_open, len(self.open))
                case DataReceived(stream_id=number, data=part, flow_controlled_length=size):
                    self.open[number].body += part
                    if self._server.opens_windows:
                        self.h2.acknowledge_received_data(size, number)
                case StreamEnded(stream_id=number):
                    self._server.take(self.open.pop(number))
                case StreamReset(stream_id=number, error_code=code):
                    self.open.pop(number, None)
                    self._server.resets.append(int(code))
                case ConnectionTerminated(error_code=code):
                    self._server.goaways.append(int(code or 0))
                case PingAckReceived():
                    self._server.pongs += 1
        self.flush()
        self._server.changed.set()


Answer = Callable[[Request], Awaitable[None]]


async def echo(request: Request) -> None:
    """Answer with the message of the request."""
    request.reply()


@dataclass
class H2Server:
    """A server with a script, and what it saw."""

    answer: Answer = echo
    settings: Mapping[SettingCodes, int] = field(default_factory=dict)
    opens_windows: bool = True
    reads: bool = True
    port: int = 0
    peers: list[Peer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    most_open: int = 0
    resets: list[int] = field(default_factory=list)
    goaways: list[int] = field(default_factory=list)
    pongs: int = 0
    violations: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def take(self, request: Request) -> None:
        """Answer a request in a task of its own."""
        self.requests.append(request)
        task = asyncio.ensure_future(self.answer(request))
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.violations.append(repr(error))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        peer = Peer(self, writer)
        self.peers.append(peer)
        peer.h2.initiate_connection()
        peer.flush()
        with suppress(ConnectionError, asyncio.CancelledError):
            while self.reads and (data := await reader.read(65_536)):
                try:
                    await peer.received(data)
                except ProtocolError as error:
                    self.violations.append(repr(error))
                    peer.flush()
                    break
            if not self.reads:
                await asyncio.Event().wait()
        writer.close()
        self.changed.set()

    async def listen(self) -> asyncio.Server:
        """Listen on a free port."""
        listening = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        return listening

    def close(self, listening: asyncio.Server) -> None:
        """Stop listening, and close the connections."""
        listening.close()
        for peer in self.peers:
            peer.writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the client has done something, for at most ten seconds."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def served(server: H2Server) -> AsyncIterator[tuple[Channel, RequestHead]]:
    """Run the server and a channel to it; the client's violation of the protocol fails the test."""
    listening = await server.listen()
    channel = Channel("127.0.0.1", server.port, f"127.0.0.1:{server.port}", {"dapr-api-token": "secret"})
    try:
        yield channel, channel.head(METHOD)
    finally:
        channel.close()
        server.close(listening)
        await asyncio.sleep(0)
    assert [] == server.violations
