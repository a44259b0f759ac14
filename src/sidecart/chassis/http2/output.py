"""The bytes that a connection sends: the writes of one turn of the event loop are joined."""

from __future__ import annotations

import asyncio

from sidecart.chassis.http2.frames import ENHANCE_YOUR_CALM, ProtocolError, goaway

ANSWERS_MAX = 1_000  # to PING and SETTINGS, while the server does not read
CLOSE_SECONDS_MAX = 1.0  # for the last frames


class Output:
    """Writes to one transport."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.is_paused = False
        """The server does not read: calls wait, and the answers to its frames are limited."""
        self.transport: asyncio.Transport | None = None
        self._loop = loop
        self._waiting: list[bytes] = []
        self._answers = 0
        self._is_closed = False

    def write(self, data: bytes) -> None:
        """Write at the end of this turn."""
        if self._is_closed or not data:
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def answer(self, frame: bytes) -> None:
        """Write an answer to PING or SETTINGS; raise ProtocolError for a flood of them."""
        self._answers += self.is_paused
        if self._answers > ANSWERS_MAX:
            raise ProtocolError(ENHANCE_YOUR_CALM, "the server sends PING or SETTINGS and does not read")
        self.write(frame)

    def pause(self) -> None:
        """Note that the server does not read."""
        self.is_paused = True

    def resume(self) -> None:
        """Note that the server reads again."""
        self.is_paused, self._answers = False, 0

    def close(self, code: int | None) -> None:
        """Close the transport: at once, or with an error code after the last frames."""
        if self.transport is not None:
            if code is None or self._is_closed:
                self.transport.abort()
            else:
                self.write(goaway(code))
                self._flush()
                self.transport.close()
                self._loop.call_later(CLOSE_SECONDS_MAX, self.transport.abort)
        self._is_closed = True

    def _flush(self) -> None:
        if self._waiting and self.transport is not None and not self._is_closed:
            waiting, self._waiting = self._waiting, []
            self.transport.write(b"".join(waiting))
