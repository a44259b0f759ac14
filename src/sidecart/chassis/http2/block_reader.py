"""Header blocks as they arrive: one frame HEADERS, and CONTINUATION after it."""

from __future__ import annotations

from sidecart.chassis.http2.frames import (
    CONTINUATION,
    END_HEADERS,
    ENHANCE_YOUR_CALM,
    HEADERS,
    PADDED,
    PROTOCOL_ERROR,
    WITH_PRIORITY,
    ProtocolError,
    content,
)
from sidecart.chassis.http2.header_blocks import BLOCK_BYTES_MAX, BlockDecoder, ResponseHead

CONTINUATIONS_MAX = 64


class BlockReader:
    """The header blocks of one connection; no other frame may interrupt a block."""

    def __init__(self) -> None:
        self.is_inside = False
        self._decoder = BlockDecoder()
        self._stream_id = self._flags = 0
        self._parts: list[bytes] = []

    def check(self, kind: int, stream_id: int) -> None:
        """Raise ProtocolError for a frame that interrupts a block."""
        if self.is_inside and (kind != CONTINUATION or stream_id != self._stream_id):
            raise ProtocolError(PROTOCOL_ERROR, "a header block is interrupted")

    def headers(self, flags: int, stream_id: int, payload: bytes) -> ResponseHead | None:
        """Return the fields of a block that is complete, or None."""
        if flags & (PADDED | WITH_PRIORITY):
            payload = content(HEADERS, flags, payload)
        if flags & END_HEADERS:
            return self._decoder.decode(payload)
        self.is_inside, self._stream_id, self._flags, self._parts = True, stream_id, flags, [payload]
        return None

    def continuation(self, flags: int, payload: bytes) -> tuple[int, ResponseHead] | None:
        """Return the flags of HEADERS and the fields of a block that is complete, or None."""
        if not self.is_inside:
            raise ProtocolError(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._parts.append(payload)
        if len(self._parts) > CONTINUATIONS_MAX or sum(map(len, self._parts)) > BLOCK_BYTES_MAX:
            raise ProtocolError(ENHANCE_YOUR_CALM, "a header block is too long")
        if not flags & END_HEADERS:
            return None
        block, self._parts, self.is_inside = b"".join(self._parts), [], False
        return self._flags, self._decoder.decode(block)
