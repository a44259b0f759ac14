"""Swallows publishes over gRPC, on the connections of the apps' own client.

A publish that is drawn never reaches the sidecar: no frame of its stream passes, and the proxy
answers OK. The client's header blocks use no dynamic table, so a block can be left out. The answers
stand between whole frames of the sidecar, never inside a block of headers.
"""

from __future__ import annotations

from collections.abc import Iterable

from dapr.proto.runtime.v1.pubsub_pb2 import PublishEventRequest

from sidecart.chassis.http2.call import PREFIX_BYTES
from sidecart.chassis.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    Frame,
    FrameReader,
    encoded,
    window_update,
)
from sidecart.chassis.http2.header_blocks import literal
from sidecart.testkit.faults.swallow import Swallowed

PUBLISH = b"/dapr.proto.runtime.v1.Dapr/PublishEvent"
"""The path of a publish, as a literal without Huffman coding in the client's header blocks."""
PREFACE_BYTES = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
OK_HEAD = literal(":status", "200") + literal("content-type", "application/grpc")
OK_TRAILERS = literal("grpc-status", "0")


class GrpcSwallower:
    """The frames of one connection, in both directions."""

    def __init__(self, swallowed: Swallowed) -> None:
        self._swallowed = swallowed
        self._preface = b""
        self._app, self._sidecar = FrameReader(), FrameReader()
        self._bodies: dict[int, bytes] = {}  # of the streams that are swallowed
        self._block = b""  # of the sidecar, until its last frame is complete

    def from_app(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the frames for the sidecar, and the answers for the app."""
        passed, answers = b"", b""
        if missing := PREFACE_BYTES - len(self._preface):
            passed, data = data[:missing], data[missing:]
            self._preface += passed
        for frame in self._app.feed(data):
            kind, flags, stream_id, payload = frame
            if kind == HEADERS and PUBLISH in payload and self._swallowed.draw():
                self._bodies[stream_id] = b""
            elif stream_id in self._bodies:
                answers += self._swallow(kind, flags, stream_id, payload)
            else:
                passed += encoded(*frame)
        return passed, answers

    def from_sidecar(self, data: bytes) -> bytes:
        """Return the whole frames for the app, and no part of a header block."""
        return b"".join(self._whole(self._sidecar.feed(data)))

    def _whole(self, frames: Iterable[Frame]) -> Iterable[bytes]:
        for frame in frames:
            kind, flags, _, _ = frame
            self._block += encoded(*frame)
            if kind not in (HEADERS, CONTINUATION) or flags & END_HEADERS:
                yield self._block
                self._block = b""

    def _swallow(self, kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
        """Take a frame of a swallowed publish; return what the app gets for it."""
        if kind == RST_STREAM:  # the call was late
            del self._bodies[stream_id]
        if kind != DATA:
            return b""
        self._bodies[stream_id] += payload
        # The sidecar never sees these bytes, so it cannot open the window of the connection again.
        window = window_update(0, len(payload)) if payload else b""
        if not flags & END_STREAM:
            return window + (window_update(stream_id, len(payload)) if payload else b"")
        request = PublishEventRequest.FromString(self._bodies.pop(stream_id)[PREFIX_BYTES:])
        self._swallowed.record(request.topic, request.data)
        return (
            window
            + encoded(HEADERS, END_HEADERS, stream_id, OK_HEAD)
            + encoded(DATA, 0, stream_id, bytes(PREFIX_BYTES))
            + encoded(HEADERS, END_HEADERS | END_STREAM, stream_id, OK_TRAILERS)
        )
