"""One connection through a link, which can be dropped, delayed or reset."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from sidecart.testkit.faults.swallow import Swallower

LOOPBACK = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with zero seconds: closing the socket sends RST."""


class Owner(Protocol):
    """The link of a connection: where it leads, and the faults of all its connections."""

    target: int
    pipes: list[Pipe]
    tasks: set[asyncio.Task[None]]
    delay_seconds: float
    is_silent: bool
    """Whether new connections are accepted and never answered."""
    is_used: bool
    swallower_of: Callable[[], Swallower] | None


class _End(asyncio.Protocol):
    """One end of a proxied connection; received data goes to the other end."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe = pipe
        self.other: _End | None = None
        self.transport: asyncio.Transport | None = None
        self.drops = False
        """Whether received data is dropped."""
        self.has_ended = False
        """Whether the connected process has ended its stream."""
        self._late: deque[bytes] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.pipe.made(self)

    def data_received(self, data: bytes) -> None:
        """Pass data on, now or later, or drop it."""
        if self.drops:
            return
        if (swallower := self.pipe.swallower) is not None:
            if self is self.pipe.client:
                data, answers = swallower.from_app(data)
                if answers and self.transport is not None:
                    self.transport.write(answers)
            else:
                data = swallower.from_sidecar(data)
        if self.pipe.link.delay_seconds or self._late:
            self._late.append(data)
            asyncio.get_running_loop().call_later(self.pipe.link.delay_seconds, self._pass_late)
        else:
            self._pass(data)

    def _pass_late(self) -> None:
        if self._late:
            self._pass(self._late.popleft())

    def _pass(self, data: bytes) -> None:
        if data and self.other is not None and self.other.transport is not None and not self.drops:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of the stream on; keep the other direction open until its own end."""
        self.has_ended = True
        other = self.other
        if other is None or other.transport is None or other.has_ended or other.transport.is_closing() or self.drops:
            return False
        other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other end."""
        self.pipe.lost(self, reset=exc is not None)

    def pause_writing(self) -> None:
        """Stop reading from the other end while this end's process reads slowly."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other end again."""
        if self.other is not None and self.other.transport is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()


class Pipe:
    """One proxied connection, from a client to the target of its link."""

    def __init__(self, link: Owner) -> None:
        self.link = link
        self.client = _End(self)
        self.server: _End | None = None
        self.is_silent = False
        self.swallower: Swallower | None = None

    def made(self, end: _End) -> None:
        """Handle a new connection: of a client, or of the proxy to its target."""
        if end is not self.client or end.transport is None:
            return
        self.link.pipes.append(self)
        if self.link.is_silent:
            self.silence()
            return
        self.link.is_used = True
        if self.link.swallower_of is not None:
            self.swallower = self.link.swallower_of()
        end.transport.pause_reading()  # until the connection to the target exists
        task = asyncio.get_running_loop().create_task(self._connect())
        self.link.tasks.add(task)
        task.add_done_callback(self.link.tasks.discard)

    async def _connect(self) -> None:
        assert self.client.transport is not None
        server = _End(self)
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, LOOPBACK, self.link.target)
        except OSError:
            self.reset()
            return
        self.server = server
        self.client.other, server.other = server, self.client
        server.drops = self.is_silent
        if self.client.transport.is_closing():
            self.reset()
        else:
            self.client.transport.resume_reading()

    def lost(self, end: _End, *, reset: bool) -> None:
        """Close the other end of a closed connection.

        The client's end of a silent connection stays open, because the client must not notice. The
        server's end is closed, because the server would otherwise keep the connection's resources
        forever.
        """
        other = end.other
        if end is self.client and self in self.link.pipes:
            self.link.pipes.remove(self)
        if other is None or other.transport is None or (self.is_silent and other is self.client):
            return
        if reset:
            _reset(other.transport)
        else:
            other.transport.close()

    def reset(self) -> None:
        """Send RST to both ends."""
        for end in (self.client, self.server):
            if end is not None and end.transport is not None:
                _reset(end.transport)

    def silence(self) -> None:
        """Drop all data in both directions and close nothing: a half-open connection."""
        self.is_silent = True
        for end in (self.client, self.server):
            if end is not None:
                end.drops = True


def _reset(transport: asyncio.Transport) -> None:
    if transport.is_closing():
        transport.abort()
        return
    connection: socket.socket = transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


def reset_all(pipes: Sequence[Pipe]) -> None:
    """Send RST to both ends of each connection."""
    for pipe in pipes:
        pipe.reset()
