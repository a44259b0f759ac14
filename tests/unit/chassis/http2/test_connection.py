"""One connection: frames of a server that are unusual, wrong, or too many."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from sidecart.chassis.http2 import connection as connection_module
from sidecart.chassis.http2.call import Call, Reply
from sidecart.chassis.http2.connection import ESTIMATE
from sidecart.chassis.http2.errors import BrokenOff, NotProcessed
from sidecart.chassis.http2.output import ANSWERS_MAX
from sidecart.chassis.http2.settings import CONNECTION_WINDOW, MESSAGE_BYTES_MAX
from tests.unit.chassis.http2.wire import (
    HEAD,
    OK,
    RESPONSE,
    Client,
    block,
    data,
    encoded,
    headers,
    message,
    response,
)

PROTOCOL, FLOW, SIZE, COMPRESSION, CALM = 1, 3, 6, 9, 11
BAD_CONTENT = (":status", "200"), ("content-type", "text/html")


def table_block() -> bytes:
    """Return a block that refers to an entry of a dynamic table."""
    encoder = Encoder()
    encoder.encode([("x-a", "b")])
    return bytes(encoder.encode([("x-a", "b")]))


def raw(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    """Return a frame that hyperframe would not build."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream_id.to_bytes(4, "big") + payload


def extension() -> Frame:
    """Return a frame of an unknown type, which a client ignores."""
    frame = ExtensionFrame(0xFE, flag_byte=255, stream_id=1, body=b"grease")
    frame.body_len = len(frame.body)
    return frame


FATAL: list[tuple[str, int, bytes]] = [
    ("a frame that is too large", SIZE, (16_385).to_bytes(3, "big") + bytes(6)),
    ("DATA on a stream of the future", PROTOCOL, encoded(data(99, b""))),
    ("HEADERS on a stream of the server", PROTOCOL, encoded(headers(2))),
    ("RST_STREAM on a stream of the future", PROTOCOL, encoded(RstStreamFrame(99))),
    ("WINDOW_UPDATE on a stream of the future", PROTOCOL, encoded(WindowUpdateFrame(99, 1))),
    ("DATA on the connection", PROTOCOL, raw(0, 0, 0, b"x")),
    ("HEADERS on the connection", PROTOCOL, raw(1, 4, 0, b"\x88")),
    ("SETTINGS on a stream", PROTOCOL, raw(4, 0, 1, b"")),
    ("SETTINGS of a wrong size", SIZE, raw(4, 0, 0, b"12345")),
    ("an ACK of SETTINGS with a payload", SIZE, raw(4, 1, 0, bytes(6))),
    ("an initial window that is too large", FLOW, raw(4, 0, 0, b"\x00\x04\x80\x00\x00\x00")),
    ("a frame size that is too small", PROTOCOL, raw(4, 0, 0, b"\x00\x05\x00\x00\x3f\xff")),
    ("a server that enables push", PROTOCOL, raw(4, 0, 0, b"\x00\x02\x00\x00\x00\x01")),
    ("PING of a wrong size", SIZE, raw(6, 0, 0, b"1234567")),
    ("PING on a stream", PROTOCOL, raw(6, 0, 1, bytes(8))),
    ("GOAWAY that is too short", SIZE, raw(7, 0, 0, bytes(7))),
    ("GOAWAY on a stream", PROTOCOL, raw(7, 0, 1, bytes(8))),
    ("RST_STREAM of a wrong size", SIZE, raw(3, 0, 1, bytes(5))),
    ("WINDOW_UPDATE of a wrong size", SIZE, raw(8, 0, 0, bytes(3))),
    ("WINDOW_UPDATE of 0 on the connection", PROTOCOL, raw(8, 0, 0, bytes(4))),
    ("a window of the connection that overflows", FLOW, raw(8, 0, 0, b"\x7f\xff\xff\xff")),
    ("PUSH_PROMISE", PROTOCOL, encoded(PushPromiseFrame(1, 2, b"\x88", flags=["END_HEADERS"]))),
    ("CONTINUATION without HEADERS", PROTOCOL, encoded(ContinuationFrame(1, b"\x88"))),
    ("a header block that is interrupted", PROTOCOL, encoded(HeadersFrame(1, b"\x88"), PingFrame(0, bytes(8)))),
    ("a header block that DATA interrupts", PROTOCOL, encoded(HeadersFrame(1, b"\x88"), data(1, b"x"))),
    ("a header block that HEADERS interrupts", PROTOCOL, encoded(HeadersFrame(1, b"\x88"), headers(3))),
    ("a header block on two streams", PROTOCOL, encoded(HeadersFrame(1, b"\x88"), ContinuationFrame(3, b""))),
    ("too many CONTINUATIONs", CALM, encoded(HeadersFrame(1, b""), *[ContinuationFrame(1, b"")] * 64)),
    ("a header block that is too long", CALM, encoded(HeadersFrame(1), *[ContinuationFrame(1, bytes(16_384))] * 5)),
    ("a header block that is no HPACK", COMPRESSION, raw(1, 4, 1, b"\xff\xff\xff\xff\xff\xff")),
    ("a header block with a dynamic table", COMPRESSION, raw(1, 4, 1, table_block())),
    ("a header list that is too long", COMPRESSION, encoded(headers(1, [("x", "y")] * 3_000))),
    ("more padding than payload", PROTOCOL, raw(0, 8, 1, b"\x05abc")),
    ("padding without its length", SIZE, raw(0, 8, 1, b"")),
    ("HEADERS too short for a priority", PROTOCOL, raw(1, 0x24, 1, b"123")),
    ("more DATA than the window", FLOW, encoded(*[data(1, bytes(16_384))] * (CONNECTION_WINDOW // 16_384 + 1))),
]


@pytest.mark.parametrize(("what", "code", "sent"), FATAL, ids=[what for what, _, _ in FATAL])
def test_a_violation_of_the_protocol_ends_the_connection(what: str, code: int, sent: bytes) -> None:
    """The server gets a GOAWAY with the code, and the outcome of each call is unknown."""

    async def run() -> None:
        client = Client()
        if what == "more DATA than the window":
            client.connection.streams._received = 0
            client.connection._output.write = lambda data: None  # type: ignore[method-assign]  # no WINDOW_UPDATE
        client.connection.data_received(sent)
        results = await client.end()
        assert [BrokenOff] * 3 == [type(result) for result in results]
        if what != "more DATA than the window":
            assert client.wire.sent.endswith(raw(7, 0, 0, bytes(4) + code.to_bytes(4, "big")))
            assert client.wire.is_closed

    asyncio.run(run())


BROKEN: list[tuple[str, list[Frame]]] = [
    ("no status", [headers(1, OK)]),
    ("another status", [headers(1, [(":status", "503"), RESPONSE[1]])]),
    ("another type of content", [headers(1, BAD_CONTENT)]),
    ("DATA first", [data(1, message(b"x"))]),
    ("no trailers", [headers(1), data(1, message(b"x"), "END_STREAM")]),
    ("trailers without a grpc-status", [headers(1), headers(1, [("x", "y")], "END_STREAM")]),
    ("a grpc-status that is no number", [headers(1), headers(1, [("grpc-status", "OK")], "END_STREAM")]),
    ("trailers that end nothing", [headers(1), headers(1, OK)]),
    ("two heads", [headers(1), headers(1, RESPONSE, "END_STREAM")]),
    ("no message", [headers(1), headers(1, OK, "END_STREAM")]),
    ("half a message", [headers(1), data(1, message(b"abc")[:-1]), headers(1, OK, "END_STREAM")]),
    ("two messages", [headers(1), data(1, message(b"a") * 2), headers(1, OK, "END_STREAM")]),
    ("a compressed message", [headers(1), data(1, b"\x01\x00\x00\x00\x01x"), headers(1, OK, "END_STREAM")]),
    ("an oversized message", [headers(1), data(1, b"\x00" + (MESSAGE_BYTES_MAX + 1).to_bytes(4, "big"))]),
    ("a window that overflows", [WindowUpdateFrame(1, 2**31 - 1), WindowUpdateFrame(1, 1)]),
    ("RST_STREAM", [RstStreamFrame(1, 2)]),
]


@pytest.mark.parametrize(("what", "sent"), BROKEN, ids=[what for what, _ in BROKEN])
def test_a_violation_on_a_stream_ends_its_call_only(what: str, sent: Sequence[Frame]) -> None:
    """The other calls of the connection get their responses."""

    async def run() -> None:
        client = Client(calls=0 if what == "a window that overflows" else 2)
        if what == "a window that overflows":  # only a request that waits has a window
            client = Client(calls=0)
            for size in (70_000, 1):
                call = Call(HEAD, bytes(size), 1e9, asyncio.get_running_loop().create_future())
                client.calls.append(call)
                client.connection.streams.start(call)
        client.connection.data_received(encoded(*sent, *response(3, b"3")))
        client.connection.data_received(encoded(*response(1, b"late")))
        first, second = await client.end()
        assert (BrokenOff, Reply(0, "", b"3")) == (type(first), second)

    asyncio.run(run())


ALLOWED: list[tuple[str, list[Frame]]] = [
    ("one frame each", response(1, b"hi")),
    ("an informational response", [headers(1, [(":status", "103"), ("link", "x")]), *response(1, b"hi")]),
    ("a message in parts", [headers(1), *(data(1, bytes([b])) for b in message(b"hi")), headers(1, OK, "END_STREAM")]),
    ("empty DATA", [headers(1), data(1, b""), data(1, message(b"hi")), data(1, b""), headers(1, OK, "END_STREAM")]),
    (
        "padding",
        [
            HeadersFrame(1, block(*RESPONSE), pad_length=7, flags=["END_HEADERS", "PADDED"]),
            data(1, message(b"hi"), "PADDED", pad_length=200),
            HeadersFrame(1, block(*OK), pad_length=255, flags=["END_HEADERS", "PADDED", "END_STREAM"]),
        ],
    ),
    (
        "a priority",
        [
            HeadersFrame(1, block(*RESPONSE), flags=["END_HEADERS", "PRIORITY"], depends_on=3, stream_weight=9),
            *response(1, b"hi")[1:],
        ],
    ),
    (
        "CONTINUATION",
        [
            HeadersFrame(1, block(*RESPONSE)[:3]),
            ContinuationFrame(1, b""),
            ContinuationFrame(1, block(*RESPONSE)[3:], flags=["END_HEADERS"]),
            data(1, message(b"hi")),
            HeadersFrame(1, b"", flags=["END_STREAM"]),
            ContinuationFrame(1, block(*OK), flags=["END_HEADERS"]),
        ],
    ),
    (
        "frames between",
        [
            PingFrame(0, b"12345678"),
            headers(1),
            SettingsFrame(0, {3: 5, 4: 70_000, 99: 1}),
            PriorityFrame(1, depends_on=3),
            extension(),
            WindowUpdateFrame(0, 5),
            WindowUpdateFrame(1, 5),
            PingFrame(0, bytes(8), flags=["ACK"]),
            SettingsFrame(0, flags=["ACK"]),
            *response(1, b"hi")[1:],
            WindowUpdateFrame(1, 5),
            RstStreamFrame(1, 0),
            data(1, b"late"),
        ],
    ),
]


@pytest.mark.parametrize(("what", "sent"), ALLOWED, ids=[what for what, _ in ALLOWED])
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_any_allowed_form_of_a_response_is_accepted(what: str, sent: Sequence[Frame], size: int) -> None:
    """The bytes may arrive one by one."""

    async def run() -> None:
        client = Client(calls=2)
        stream = encoded(*sent)
        for start in range(0, len(stream), size):
            client.connection.data_received(stream[start : start + size])
        assert Reply(0, "", b"hi") == client.calls[0].result.result()
        assert [BrokenOff] == [type(result) for result in (await client.end())[1:]]

    asyncio.run(run())


def test_ping_and_settings_are_answered() -> None:
    """The answer to a PING has its payload."""

    async def run() -> None:
        client = Client(calls=0)
        client.connection.data_received(encoded(PingFrame(0, b"12345678"), SettingsFrame(0, {4: 1})))
        await asyncio.sleep(0)
        expected = encoded(PingFrame(0, b"12345678", flags=["ACK"]), SettingsFrame(0, flags=["ACK"]))
        assert client.wire.sent.endswith(expected)
        await client.end()

    asyncio.run(run())


def test_the_ping_of_an_estimate_is_answered_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer at once would bring the next one with the next call; a second one does not wait."""
    monkeypatch.setattr(connection_module, "ESTIMATE_SECONDS", 0.05)
    answer = encoded(PingFrame(0, ESTIMATE, flags=["ACK"]))

    async def run() -> None:
        client = Client(calls=0)
        client.connection.data_received(encoded(PingFrame(0, ESTIMATE)))
        await asyncio.sleep(0)
        assert answer not in client.wire.sent
        client.connection.data_received(encoded(PingFrame(0, ESTIMATE)))
        await asyncio.sleep(0)
        assert 1 == client.wire.sent.count(answer)
        async with asyncio.timeout(10):
            while client.wire.sent.count(answer) < 2:  # noqa: ASYNC110 - the wire has no event to await
                await asyncio.sleep(0.005)
        client.connection.data_received(encoded(PingFrame(0, ESTIMATE)))
        await client.end()

    asyncio.run(run())


@pytest.mark.parametrize("frame", [PingFrame(0, bytes(8)), SettingsFrame(0)])
def test_a_flood_without_a_reader_ends_the_connection(frame: Frame) -> None:
    """The answers that a server does not read are bounded."""

    async def run() -> None:
        client = Client(calls=1)
        client.connection.data_received(encoded(frame) * 2 * ANSWERS_MAX)
        assert not client.connection.is_closed
        client.connection.pause_writing()
        client.connection.data_received(encoded(frame) * ANSWERS_MAX)
        assert not client.connection.is_closed
        client.connection.resume_writing()
        client.connection.pause_writing()
        client.connection.data_received(encoded(frame) * (ANSWERS_MAX + 1))
        assert [BrokenOff] == [type(result) for result in await client.end()]

    asyncio.run(run())


def test_goaway_separates_the_calls() -> None:
    """Calls above the last stream were not processed; the others continue until the end."""

    async def run() -> None:
        client = Client(calls=3)
        client.connection.data_received(encoded(GoAwayFrame(0, last_stream_id=3), *response(1, b"1")))
        assert client.gone
        assert [Reply, BrokenOff, NotProcessed] == [type(result) for result in await client.end()]

    asyncio.run(run())


def test_a_connection_ends_after_goaway_and_its_last_call() -> None:
    """The client closes it, with a GOAWAY of its own."""

    async def run() -> None:
        client = Client(calls=1)
        client.connection.data_received(encoded(GoAwayFrame(0, last_stream_id=1)))
        closed = [client.wire.is_closed]
        client.connection.data_received(encoded(*response(1, b"1")))
        assert [False, True] == [*closed, client.wire.is_closed]
        assert [Reply(0, "", b"1")] == await client.end()

    asyncio.run(run())


def test_the_first_frame_of_a_server_is_settings() -> None:
    """Another one, or the acknowledgement alone, ends the connection before any call is sent."""

    async def run() -> None:
        for first in (encoded(PingFrame(0, bytes(8))), encoded(SettingsFrame(0, flags=["ACK"])), b"HTTP/1.1 400 "):
            client = Client(calls=0)
            client.connection.ready = asyncio.get_running_loop().create_future()
            client.connection.data_received(first)
            assert isinstance(client.connection.ready.exception(), BrokenOff)

    asyncio.run(run())


def test_the_writes_of_one_turn_are_one_write() -> None:
    """A hundred calls of one turn of the event loop are written together."""

    async def run() -> None:
        client = Client(calls=100)
        await asyncio.sleep(0)
        assert 1 == len(client.wire.written)
        await client.end()

    asyncio.run(run())


def test_a_response_before_the_end_of_its_request_stops_the_request() -> None:
    """The stream is reset, because the server needs no more of it."""

    async def run() -> None:
        client = Client(calls=0)
        call = Call(HEAD, bytes(200_000), 1e9, asyncio.get_running_loop().create_future())
        client.calls.append(call)
        client.connection.streams.start(call)
        client.connection.data_received(encoded(headers(1, [*RESPONSE, ("grpc-status", "8")], "END_STREAM")))
        assert [Reply(8, "", b"")] == await client.end()
        assert client.wire.sent.endswith(encoded(RstStreamFrame(1, 8)))

    asyncio.run(run())
