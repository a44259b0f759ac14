"""The calls of one connection by stream.

No frame of the server reaches another call than the one with its stream, and no stream number is
used twice. Frames of streams that have ended are ignored, except for their share of the
connection's window.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

from sidecart.chassis.http2.call import PREFIX_BYTES, Call
from sidecart.chassis.http2.errors import BrokenOff, NotProcessed
from sidecart.chassis.http2.frames import (
    CANCEL,
    DATA,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    PADDED,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_ID_MAX,
    ProtocolError,
    content,
    rst_stream,
    window_update,
)
from sidecart.chassis.http2.header_blocks import ResponseHead
from sidecart.chassis.http2.request_bodies import RequestBodies, StreamError
from sidecart.chassis.http2.settings import CONNECTION_WINDOW, ServerSettings

STREAMS_MAX = 256
"""Calls at a time, or fewer if the server allows fewer (daprd sets no limit of its own)."""
BODY = Struct(">IBIBI")  # the head of a DATA frame, and the prefix of a message


class Streams:
    """Starts calls and hands them the frames of their streams.

    `write` sends bytes; `ended` is called after the server has ended a stream.
    """

    def __init__(self, write: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.calls: dict[int, Call] = {}
        self.settings = ServerSettings()
        self.bodies = RequestBodies(self.settings)
        self._write = write
        self._ended = ended
        self._next_id = 1
        self._streams_max = STREAMS_MAX
        self._received = 0  # bytes of DATA since the last WINDOW_UPDATE of the connection

    @property
    def is_full(self) -> bool:
        """Return whether the server or this client allows no further stream now."""
        return len(self.calls) >= self._streams_max

    @property
    def is_used_up(self) -> bool:
        """Return whether no stream number is left."""
        return self._next_id > STREAM_ID_MAX

    def start(self, call: Call) -> None:
        """Send a call on a new stream."""
        call.stream_id = stream_id = self._next_id
        self._next_id = stream_id + 2
        self.calls[stream_id] = call
        head, message, bodies = call.head, call.message, self.bodies
        begin = head.begin + stream_id.to_bytes(4, "big") + head.block
        size = len(message) + PREFIX_BYTES
        if size <= bodies.window and size <= bodies.whole_bytes_max:
            bodies.window -= size
            self._write(begin + BODY.pack(size << 8 | DATA, END_STREAM, stream_id, 0, size - PREFIX_BYTES) + message)
        else:
            prefix = b"\x00" + len(message).to_bytes(4, "big")
            self._write(begin)
            self._write(bodies.open(stream_id, prefix + message))

    def abandon(self, call: Call) -> None:
        """End the stream of a call that is late or canceled."""
        self._end(call)
        self._write(rst_stream(call.stream_id, CANCEL))

    def fail(self, error: Exception, above: int = 0) -> None:
        """End the calls on streams above a number with an error."""
        for call in [call for number, call in self.calls.items() if number > above]:
            self._end(call)
            call.fail(type(error)(str(error)))  # an exception each: a shared one collects tracebacks

    # --- Frames of the server

    def on_head(self, flags: int, stream_id: int, head: ResponseHead) -> None:
        """Take headers or trailers."""
        call = self._call_of(stream_id)
        if call is None:
            return
        try:
            is_complete = call.headers(head, is_end=bool(flags & END_STREAM))
        except StreamError as error:
            self._break_off(call, error)
        else:
            if is_complete:
                del self.calls[stream_id]
                if stream_id in self.bodies:  # the response did not wait for the whole request
                    self.bodies.drop(stream_id)
                    self._write(rst_stream(stream_id, CANCEL))
                self._ended()

    def on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """Take a part of a message, and open the connection's window again."""
        call, size = self._call_of(stream_id), len(payload)
        self._received += size
        if self._received > CONNECTION_WINDOW:
            raise ProtocolError(FLOW_CONTROL_ERROR, "more bytes than the connection's window allows")
        if self._received > CONNECTION_WINDOW // 2:
            self._write(window_update(0, self._received))
            self._received = 0
        if flags & PADDED:
            payload = content(DATA, flags, payload)
        if call is None:
            return
        try:
            call.data(payload)
            if flags & END_STREAM:
                raise StreamError(PROTOCOL_ERROR, "a response without trailers")
        except StreamError as error:
            self._break_off(call, error)
        else:
            if padding := size - len(payload):
                self._write(window_update(stream_id, padding))

    def on_rst_stream(self, stream_id: int, code: int) -> None:
        """End a call that the server refused or broke off."""
        call = self._call_of(stream_id)
        if call is not None:
            self._end(call)
            call.fail(NotProcessed("REFUSED_STREAM") if code == REFUSED_STREAM else BrokenOff(f"RST_STREAM {code}"))
            self._ended()

    def on_window_update(self, stream_id: int, increment: int) -> None:
        """Send more of the requests that wait for the window of a stream, or of the connection."""
        if not stream_id:
            self._write(self.bodies.enlarge(increment))
            return
        call = self._call_of(stream_id)
        if call is not None:
            try:
                self._write(self.bodies.enlarge_stream(stream_id, increment))
            except StreamError as error:
                self._break_off(call, error)

    def on_settings(self, payload: bytes) -> None:
        """Apply settings, also to the requests that wait for a window."""
        self.settings.apply(payload)
        self._streams_max = min(STREAMS_MAX, self.settings.streams_max)
        self._write(self.bodies.settings_changed())

    def _call_of(self, stream_id: int) -> Call | None:
        """Return the call of a stream, or None if it has ended.

        Raise ProtocolError for a stream that was never opened.
        """
        call = self.calls.get(stream_id)
        if call is None and (stream_id >= self._next_id or not stream_id & 1):
            raise ProtocolError(PROTOCOL_ERROR, f"a frame on stream {stream_id}, which was never opened")
        return call

    def _break_off(self, call: Call, error: StreamError) -> None:
        self._end(call)
        self._write(rst_stream(call.stream_id, error.code))
        call.fail(BrokenOff(f"not gRPC: {error}"))
        self._ended()

    def _end(self, call: Call) -> None:
        del self.calls[call.stream_id]
        self.bodies.drop(call.stream_id)
        call.connection = None
