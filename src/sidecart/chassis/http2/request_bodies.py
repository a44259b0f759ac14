"""Request bodies under the server's flow control (RFC 9113, section 5.2).

The methods return the bytes that may be sent now. A body that fits into the windows is sent at once
(`Connection.start`) and never comes here.
"""

from __future__ import annotations

from dataclasses import dataclass

from sidecart.chassis.http2.frames import (
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    PROTOCOL_ERROR,
    WINDOW_MAX,
    ProtocolError,
    encoded,
)
from sidecart.chassis.http2.settings import DEFAULT_WINDOW, ServerSettings


class StreamError(Exception):
    """The peer violated the protocol on one stream; the stream ends with this error code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class _Body:
    rest: memoryview
    window: int


class RequestBodies:
    """The bodies of one connection that wait for a window, oldest first."""

    def __init__(self, settings: ServerSettings) -> None:
        self.window = DEFAULT_WINDOW
        """The window of the connection: how many bytes may be sent on all streams together."""
        self.whole_bytes_max = 0
        """A body up to this size fits into one frame and into the window of a new stream."""
        self._settings = settings
        self._initial = settings.initial_window
        self._waiting: dict[int, _Body] = {}
        self.settings_changed()

    def __contains__(self, stream_id: int) -> bool:
        return stream_id in self._waiting

    def open(self, stream_id: int, body: bytes) -> bytes:
        """Add the body of a new stream."""
        self._waiting[stream_id] = _Body(memoryview(body), self._initial)
        return self._send()

    def drop(self, stream_id: int) -> None:
        """Forget the body of a stream that has ended."""
        self._waiting.pop(stream_id, None)

    def settings_changed(self) -> bytes:
        """Apply a new initial window to the open streams; raise ProtocolError if one overflows."""
        change, self._initial = self._settings.initial_window - self._initial, self._settings.initial_window
        self.whole_bytes_max = min(self._initial, self._settings.frame_bytes_max)
        for body in self._waiting.values():
            body.window += change  # it may become negative
            if body.window > WINDOW_MAX:
                raise ProtocolError(FLOW_CONTROL_ERROR, "a stream's window overflows")
        return self._send()

    def enlarge(self, increment: int) -> bytes:
        """Enlarge the window of the connection; raise ProtocolError."""
        if not increment:
            raise ProtocolError(PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        self.window += increment
        if self.window > WINDOW_MAX:
            raise ProtocolError(FLOW_CONTROL_ERROR, "the connection's window overflows")
        return self._send() if self._waiting else b""

    def enlarge_stream(self, stream_id: int, increment: int) -> bytes:
        """Enlarge the window of one stream; raise StreamError."""
        if not increment:
            raise StreamError(PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        body = self._waiting.get(stream_id)
        if body is None:  # its body is sent, or the stream has ended
            return b""
        body.window += increment
        if body.window > WINDOW_MAX:
            raise StreamError(FLOW_CONTROL_ERROR, "the stream's window overflows")
        return self._send()

    def _send(self) -> bytes:
        sent, done = [], []
        for stream_id, body in self._waiting.items():
            while body.rest and (size := min(self.window, body.window, self._settings.frame_bytes_max)) > 0:
                part, body.rest = body.rest[:size], body.rest[size:]
                self.window -= len(part)
                body.window -= len(part)
                sent.append(encoded(DATA, 0 if body.rest else END_STREAM, stream_id, bytes(part)))
            if not body.rest:
                done.append(stream_id)
        for stream_id in done:
            del self._waiting[stream_id]
        return b"".join(sent)
