"""Frames of HTTP/2 (RFC 9113, section 4): reads those of a server, makes those of a client.

Every error of the peer that ends a connection is a `ProtocolError`.
"""

from __future__ import annotations

from struct import Struct

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x6, 0x7, 0x8, 0x9, 0xB

FRAME_BYTES_MAX = 16_384
"""The payload of a frame that this client accepts: the protocol's default and minimum."""
STREAM_ID_MAX = WINDOW_MAX = 2**31 - 1

HEAD = Struct(">IBI")  # length (24 bits) and type (8 bits), flags, stream
HEAD_BYTES = HEAD.size
NUMBER = Struct(">I")
TWO_NUMBERS = Struct(">II")


Frame = tuple[int, int, int, bytes]
"""A frame as received: its type, flags, stream, and payload with its padding."""


class ProtocolError(Exception):
    """The peer violated the protocol; the connection ends with this error code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class FrameReader:
    """Splits a stream of bytes into frames; keeps less than one frame."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete with these bytes.

        Raise ProtocolError for a frame that is too large, before it is complete.
        """
        if self._rest:
            data = self._rest + data
        frames: list[Frame] = []
        position, end = 0, len(data)
        while end - position >= HEAD_BYTES:
            length, flags, stream_id = HEAD.unpack_from(data, position)
            kind, length = length & 0xFF, length >> 8
            if length > FRAME_BYTES_MAX:
                raise ProtocolError(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            start = position + HEAD_BYTES
            if start + length > end:
                break
            position = start + length
            frames.append((kind, flags, stream_id & STREAM_ID_MAX, data[start:position]))
        self._rest = data[position:]
        return frames


def content(kind: int, flags: int, payload: bytes) -> bytes:
    """Return the payload of DATA or HEADERS without padding and priority; raise ProtocolError."""
    start, end = 0, len(payload)
    if flags & PADDED:
        if not payload:
            raise ProtocolError(FRAME_SIZE_ERROR, "a padded frame without its length of padding")
        start, end = 1, end - payload[0]
    if flags & WITH_PRIORITY and kind == HEADERS:
        start += 5
    if start > end:
        raise ProtocolError(PROTOCOL_ERROR, "more padding than payload")
    return payload[start:end]


def number(kind: int, payload: bytes) -> int:
    """Return the number in RST_STREAM or WINDOW_UPDATE (32 bits); raise ProtocolError."""
    if len(payload) != NUMBER.size:
        raise ProtocolError(FRAME_SIZE_ERROR, f"a frame of type {kind} with {len(payload)} bytes")
    found: int = NUMBER.unpack(payload)[0]
    return found


def encoded(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return the bytes of one frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return a frame that ends one stream."""
    return encoded(RST_STREAM, 0, stream_id, NUMBER.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a frame that allows more bytes on a stream, or with 0 on the connection."""
    return encoded(WINDOW_UPDATE, 0, stream_id, NUMBER.pack(increment))


def goaway(code: int) -> bytes:
    """Return the last frame of a client, which has accepted no stream of the server."""
    return encoded(GOAWAY, 0, 0, TWO_NUMBERS.pack(0, code))
