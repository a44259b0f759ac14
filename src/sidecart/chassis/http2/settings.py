"""Settings of HTTP/2 (RFC 9113, section 6.5): those of this client, and those of the server."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct

from sidecart.chassis.http2.frames import (
    FLOW_CONTROL_ERROR,
    FRAME_BYTES_MAX,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    SETTINGS,
    WINDOW_MAX,
    ProtocolError,
    encoded,
    window_update,
)
from sidecart.chassis.http2.header_blocks import HEADER_LIST_BYTES_MAX

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Of a request and of a response: the limit of a sidecar (`--max-body-size`, 4 MiB)."""
STREAM_WINDOW = MESSAGE_BYTES_MAX + FRAME_BYTES_MAX
"""A whole response fits, so that no stream needs a WINDOW_UPDATE for its message."""
CONNECTION_WINDOW = 16 * 1024 * 1024
DEFAULT_WINDOW = 65_535

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE = 6
SETTING = Struct(">HI")

OURS = {
    HEADER_TABLE_SIZE: 0,  # header_blocks.py
    ENABLE_PUSH: 0,
    INITIAL_WINDOW_SIZE: STREAM_WINDOW,
    MAX_HEADER_LIST_SIZE: HEADER_LIST_BYTES_MAX,
}
PREFACE = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + encoded(SETTINGS, 0, 0, b"".join(SETTING.pack(*each) for each in OURS.items()))
    + window_update(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
)
"""The first bytes of a connection."""


@dataclass(slots=True)
class ServerSettings:
    """The settings of the server that matter to a client, with the protocol's defaults."""

    streams_max: int = WINDOW_MAX
    initial_window: int = DEFAULT_WINDOW
    frame_bytes_max: int = FRAME_BYTES_MAX

    def apply(self, payload: bytes) -> None:
        """Apply the settings of one frame in sequence; raise ProtocolError for a wrong value."""
        if len(payload) % SETTING.size:
            raise ProtocolError(FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        for name, value in SETTING.iter_unpack(payload):
            if name == MAX_CONCURRENT_STREAMS:
                self.streams_max = value
            elif name == INITIAL_WINDOW_SIZE:
                if value > WINDOW_MAX:
                    raise ProtocolError(FLOW_CONTROL_ERROR, f"an initial window of {value}")
                self.initial_window = value
            elif name == MAX_FRAME_SIZE:
                if not FRAME_BYTES_MAX <= value < 1 << 24:
                    raise ProtocolError(PROTOCOL_ERROR, f"a frame size of {value}")
                self.frame_bytes_max = value
            elif name == ENABLE_PUSH and value:
                raise ProtocolError(PROTOCOL_ERROR, "a server may not enable push")
