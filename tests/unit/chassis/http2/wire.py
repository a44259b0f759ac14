"""Bytes of a server, framed by hyperframe and hpack, and a connection without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, SettingsFrame

from sidecart.chassis.http2.call import Call, Reply
from sidecart.chassis.http2.connection import Connection
from sidecart.chassis.http2.header_blocks import request_head

RESPONSE = (":status", "200"), ("content-type", "application/grpc")
OK = (("grpc-status", "0"),)
HEAD = request_head("127.0.0.1:1", "/toy.Lamps/Switch", {})
FIRST = SettingsFrame(0)


def block(*fields: tuple[str, str]) -> bytes:
    """Return a header block without a dynamic table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(fields))


def headers(stream_id: int, fields: Sequence[tuple[str, str]] = RESPONSE, *flags: str) -> HeadersFrame:
    """Return a frame with all fields."""
    return HeadersFrame(stream_id, block(*fields), flags=["END_HEADERS", *flags])


def data(stream_id: int, payload: bytes, *flags: str, **more: int) -> DataFrame:
    """Return a frame of DATA."""
    return DataFrame(stream_id, payload, flags=list(flags), **more)


def message(content: bytes) -> bytes:
    """Return a message with its prefix."""
    return b"\x00" + len(content).to_bytes(4, "big") + content


def response(stream_id: int, content: bytes) -> list[Frame]:
    """Return the frames of a whole response."""
    return [headers(stream_id), data(stream_id, message(content)), headers(stream_id, OK, "END_STREAM")]


def encoded(*frames: Frame) -> bytes:
    """Return the bytes of frames."""
    return b"".join(frame.serialize() for frame in frames)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep the bytes."""
        self.written.append(bytes(data))

    def close(self) -> None:
        """Note the close."""
        self.is_closed = True

    abort = close

    @property
    def sent(self) -> bytes:
        """All bytes."""
        return b"".join(self.written)


class Client:
    """A connection with some calls under way, and no network."""

    def __init__(self, calls: int = 3) -> None:
        loop = asyncio.get_running_loop()
        self.wire = Wire()
        self.connection = Connection(loop, self)
        self.connection.connection_made(self.wire)
        self.connection.data_received(FIRST.serialize())
        self.gone = False
        self.calls = [Call(HEAD, b"%d" % number, loop.time() + 60, loop.create_future()) for number in range(calls)]
        for call in self.calls:
            call.connection = self.connection
            self.connection.streams.start(call)

    def has_room(self) -> None:
        """No calls wait."""

    def is_gone(self, connection: Connection) -> None:
        """Note the end of the connection."""
        self.gone = True

    async def end(self) -> list[Reply | BaseException]:
        """Lose the connection, and return the results of all calls."""
        await asyncio.sleep(0)
        self.connection.connection_lost(None)
        async with asyncio.timeout(5):
            return await asyncio.gather(*(call.result for call in self.calls), return_exceptions=True)
