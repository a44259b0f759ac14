"""SMTP and HTTP servers that close the longest idle connection at their connection limit."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

CONNECTIONS_MAX = 100
SILENT_SECONDS_MAX = 60.0
FULL = b"421 4.3.2 too many connections, try again later\r\n"


class BoundedSmtp(SMTP):
    """An SMTP session that closes if another client needs its place and it has begun no mail."""

    def __init__(self, sessions: dict[BoundedSmtp, float], *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sessions = sessions

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept a connection if a place is free or an idle session can be closed."""
        is_full = len(self._sessions) >= CONNECTIONS_MAX
        idle = [each for each in self._sessions if each.envelope is None or each.envelope.mail_from is None]
        if is_full and not idle:
            assert isinstance(transport, asyncio.WriteTransport)
            transport.write(FULL)
            transport.close()
            return
        if is_full:
            min(idle, key=self._sessions.__getitem__).make_room()
        self._sessions[self] = time.monotonic()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Record the activity of this session."""
        if self in self._sessions:
            self._sessions[self] = time.monotonic()
            super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Free the place of this session."""
        self._sessions.pop(self, None)
        if self.transport is not None:
            super().connection_lost(error)

    def make_room(self) -> None:
        """Tell the client that the server is full, and close the connection."""
        self._sessions.pop(self, None)
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.write(FULL)
            self.transport.close()


class BoundedController(Controller):
    """An SMTP server with at most CONNECTIONS_MAX sessions."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sessions: dict[BoundedSmtp, float] = {}

    def factory(self) -> SMTP:
        """Create the session of an incoming connection."""
        return BoundedSmtp(self._sessions, self.handler, **self.SMTP_kwargs)


class BoundedHttpServer(ThreadingHTTPServer):
    """An HTTP server with a thread per connection, and at most CONNECTIONS_MAX connections."""

    daemon_threads = True
    request_queue_size = CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        self._lock = threading.Lock()
        self._silent_since: dict[Any, float | None] = {}
        """Maps a connection to its last activity; None while the server answers or closes it."""
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Accept a connection if a place is free or an idle one can be closed.

        Only the accepting thread calls this.
        """
        with self._lock:
            number = len(self._silent_since)
            idle = [(since, each) for each, since in self._silent_since.items() if since is not None]
            oldest = min(idle, key=lambda each: each[0])[1] if idle else None
            is_taken = number < CONNECTIONS_MAX or (oldest is not None and number < 2 * CONNECTIONS_MAX)
            if is_taken:
                self._silent_since[request] = time.monotonic()
                request.settimeout(SILENT_SECONDS_MAX)
            if is_taken and number >= CONNECTIONS_MAX and oldest is not None:
                self._silent_since[oldest] = None
                _wake(oldest)
        if is_taken:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Free the place of this connection."""
        with self._lock:
            self._silent_since.pop(request, None)
        super().shutdown_request(request)

    @contextmanager
    def answering(self, request: Any) -> Iterator[None]:
        """Protect a connection from being closed while the server answers it."""
        with self._lock:
            self._silent_since[request] = None
        try:
            yield
        finally:
            with self._lock:
                if request in self._silent_since:
                    self._silent_since[request] = time.monotonic()


def _wake(connection: socket.socket) -> None:
    """Close a connection whose thread waits for input."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # the client has already disconnected
        return
