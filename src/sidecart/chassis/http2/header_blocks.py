"""Header blocks of HPACK (RFC 7541) that use no dynamic table, in either direction.

A request's head is constant bytes for each method: literals that no table keeps. The token is
never indexed, so that no intermediary compresses it either. The settings of this client forbid the
server a dynamic table. Equal blocks then have equal meanings, and the few that a server repeats are
decoded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from hpack import Decoder, HPACKError

from sidecart.chassis.http2.frames import COMPRESSION_ERROR, END_HEADERS, FRAME_BYTES_MAX, HEADERS, ProtocolError

HEADER_LIST_BYTES_MAX = 64 * 1024  # decoded; an error message of daprd can quote a store's answer
BLOCK_BYTES_MAX = 64 * 1024  # encoded, over all frames of the block
CACHED_BYTES_MAX = 256
CACHED_BLOCKS_MAX = 64
NO_DYNAMIC_TABLE = b"\x20"  # a table size of 0, whatever size the server allows
POST, HTTP = b"\x83", b"\x86"  # entries of the static table
PATH, AUTHORITY, CONTENT_TYPE = 4, 1, 31  # names in the static table
GRPC = b"application/grpc"
NEVER_INDEXED = 0x10


@dataclass(frozen=True, slots=True)
class RequestHead:
    """The encoded head of a request: the begin of its frame up to the stream, and its block."""

    begin: bytes
    block: bytes

    @classmethod
    def of(cls, block: bytes) -> RequestHead:
        """Return the head with this block; raise ValueError if it does not fit into a frame."""
        if len(block) > FRAME_BYTES_MAX:
            raise ValueError(f"a request head of {len(block)} bytes")
        return cls((len(block) << 8 | HEADERS).to_bytes(4, "big") + bytes([END_HEADERS]), block)

    def plus(self, name: str, value: str) -> RequestHead:
        """Return this head with one more header."""
        return self.of(self.block + literal(name, value))


def request_head(authority: str, path: str, secrets: Mapping[str, str]) -> RequestHead:
    """Return the head of a call, with the headers `secrets`; raise ValueError for invalid ones."""
    return RequestHead.of(
        b"".join(
            (
                NO_DYNAMIC_TABLE,
                POST,
                HTTP,
                _integer(0, 4, PATH) + _string(path),
                _integer(0, 4, AUTHORITY) + _string(authority),
                _integer(0, 4, CONTENT_TYPE) + _string(GRPC.decode()),
                literal("te", "trailers"),
                *(literal(name, value, NEVER_INDEXED) for name, value in secrets.items()),
            )
        )
    )


def literal(name: str, value: str, first: int = 0) -> bytes:
    """Return one header as a literal that no table keeps."""
    return bytes([first]) + _string(name) + _string(value)


def _string(text: str) -> bytes:
    if not (text.isascii() and text.isprintable()):
        raise ValueError("a header of the sidecar's calls is not printable ASCII")
    return _integer(0, 7, len(text)) + text.encode()


def _integer(first: int, bits: int, value: int) -> bytes:
    """Return an integer with a prefix of `bits` (RFC 7541, section 5.1)."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    rest, found = value - limit, [first | limit]
    while rest >= 0x80:
        found.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*found, rest])


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """The headers or trailers of a response that a client reads; None if absent."""

    status: str | None
    is_grpc: bool
    code: int | None
    """The code of `grpc-status`; -1 if it is no number."""
    message: str


class BlockDecoder:
    """Decodes the header blocks of one connection."""

    def __init__(self) -> None:
        self._decoder = Decoder(HEADER_LIST_BYTES_MAX)
        self._decoder.header_table_size = self._decoder.max_allowed_table_size = 0
        self._cached: dict[bytes, ResponseHead] = {}

    def decode(self, block: bytes) -> ResponseHead:
        """Return the fields of a block; raise ProtocolError."""
        found = self._cached.get(block)
        if found is None:
            found = self._decode(block)
            if len(block) <= CACHED_BYTES_MAX:
                if len(self._cached) >= CACHED_BLOCKS_MAX:
                    self._cached.clear()
                self._cached[block] = found
        return found

    def _decode(self, block: bytes) -> ResponseHead:
        try:
            fields = {bytes(name): bytes(value) for name, value in self._decoder.decode(block, raw=True)}
        except HPACKError as error:
            raise ProtocolError(COMPRESSION_ERROR, f"a header block: {error}") from error
        status, code = fields.get(b":status"), fields.get(b"grpc-status")
        return ResponseHead(
            None if status is None else status.decode("latin-1"),
            fields.get(b"content-type", b"").startswith(GRPC),
            None if code is None else _code(code),
            unquote(fields.get(b"grpc-message", b"").decode("latin-1"), errors="replace"),
        )


def _code(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 4 else -1
