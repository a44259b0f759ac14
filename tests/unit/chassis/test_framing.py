"""One response for each request, and never one for a byte of a body: raw bytes on a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from chassis.protocol import BoundedHttp
from chassis.request_head import HEAD_BYTES_MAX, HEADERS_MAX
from chassis.serve import server_config
from chassis.settings import Settings
from cli.ports import free_port
from tests.e2e.raw import CLOSED, HOST, INNER, LAST, OFFERS, READ, REFUSED, Answered, chunked, get, post, responses
from tests.unit.gateway.fakes import until

SECONDS_MAX = 60
CUT = [
    case
    for case in READ
    if any(word in case[0] for word in ("h2c", "chunks", "row", "pipelined", "trailers", "absolute"))
]


class Counting(BoundedHttp):
    """The protocol of every app, which also says how many bytes have come."""

    seen = 0

    def data_received(self, data: bytes) -> None:
        """Count, and go on as ever."""
        super().data_received(data)
        Counting.seen += len(data)


class Echo:
    """Answers with what it was asked; `/held` waits until it is let go, `/early` does not read its body."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.let_go = asyncio.Event()
        self.broken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be an app."""
        if scope["type"] == "lifespan":
            for _ in range(2):
                await send({"type": f"{(await receive())['type']}.complete"})
            return
        size = 0 if scope["path"] == "/early" else await self._size(receive)
        if size is None:
            self.broken += 1
            return
        output = f"{scope['method']} {scope['path']} {size}"
        self.seen.append(output)
        self.headers.append(scope["headers"])
        if scope["path"] == "/held":
            await self.let_go.wait()
        length = [(b"content-length", b"%d" % len(output))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": output.encode()})

    async def _size(self, receive: Receive) -> int | None:
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                return size


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[int, Echo]]:
    """Serve as every app is served."""
    port, echo = free_port(), Echo()
    config = server_config(echo, Settings("127.0.0.1", port, 1, "a", "b"))
    assert config.http is BoundedHttp
    config.http = Counting
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())  # serve() would take over the signals of the test run
    try:
        await until(lambda: server.started)
        yield port, echo
    finally:
        echo.let_go.set()
        server.should_exit = True
        await task


async def ask(port: int, pieces: Sequence[bytes], methods: Sequence[str] = ()) -> list[Answered]:
    """Send each piece when the one before it was read; returns the responses until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            before = Counting.seen
            writer.write(piece)
            if len(pieces) > 1 and not reader.at_eof():
                await until(lambda: Counting.seen >= before + len(piece) or reader.at_eof())  # noqa: B023 - awaited here
        return responses(await reader.read(), methods)
    finally:
        writer.close()


def all_of(pieces: Sequence[bytes], methods: Sequence[str] = ()) -> tuple[list[Answered], Echo]:
    """Serve, ask once, stop."""

    async def play() -> tuple[list[Answered], Echo]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            return await ask(port, pieces, methods), echo

    return asyncio.run(play())


def methods_of(seen: Sequence[str]) -> list[str]:
    """The methods of what an app saw."""
    return [each.split()[0] for each in seen]


def bodies_of(answers: Sequence[Answered], seen: Sequence[str]) -> list[str]:
    """What the bodies of the answers have to be: HEAD has none."""
    return ["" if each.startswith("HEAD") else each for each in seen][: len(answers)]


@pytest.mark.parametrize(("sent", "seen"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_a_request_is_answered_once_and_the_next_one_after_it(sent: bytes, seen: list[str]) -> None:
    """As many responses as requests: what follows on the connection is read from where it begins."""
    expected = [*seen, "GET /last 0"]
    answers, echo = all_of([sent + LAST], methods_of(seen))

    assert expected == echo.seen
    assert [200] * len(expected) == [each.status for each in answers]
    assert bodies_of(answers, expected) == [each.body.decode() for each in answers]


@pytest.mark.parametrize(("sent", "seen"), [case[1:] for case in CLOSED], ids=[case[0] for case in CLOSED])
def test_what_ends_the_connection_is_answered_and_nothing_after_it(sent: bytes, seen: list[str]) -> None:
    """The request behind it on the same connection is not carried out."""
    answers, echo = all_of([sent + LAST], methods_of(seen))

    assert seen == echo.seen
    assert [200] == [each.status for each in answers]


@pytest.mark.parametrize("sent", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_has_no_one_meaning_is_refused_and_the_connection_closed(sent: bytes) -> None:
    """400 once; the app sees neither it nor what follows."""
    answers, echo = all_of([sent + LAST])

    assert [] == echo.seen
    assert [(400, "close")] == [(each.status, each.headers.get("connection")) for each in answers]
    assert "urn:sidecart:problem:not_http" == json.loads(answers[0].body)["type"]


@pytest.mark.parametrize(
    ("sent", "seen"),
    [case[1:] for case in CUT],
    ids=[case[0] for case in CUT],
)
def test_segments_change_nothing(sent: bytes, seen: list[str]) -> None:
    """Cut in two at every byte, and sent byte by byte: the same answers as in one piece."""
    whole, expected = sent + LAST, [*seen, "GET /last 0"]

    async def play() -> None:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            cuts = [[whole[:at], whole[at:]] for at in range(1, len(whole))]
            for pieces in [*cuts, [whole[at : at + 1] for at in range(len(whole))]]:
                echo.seen.clear()
                answers = await ask(port, pieces, methods_of(seen))
                assert (pieces[0], expected) == (pieces[0], echo.seen)
                assert bodies_of(answers, expected) == [each.body.decode() for each in answers]

    asyncio.run(play())


@pytest.mark.parametrize("sent", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_refusal_does_not_depend_on_segments(sent: bytes) -> None:
    """Byte by byte: 400, once, and the app carries nothing out."""

    async def play() -> None:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            answers = await ask(port, [sent[at : at + 1] for at in range(len(sent))] + [LAST])
            assert ([400], []) == ([each.status for each in answers], echo.seen)

    asyncio.run(play())


def test_an_offer_to_upgrade_is_not_among_the_headers_and_all_others_are() -> None:
    """Nothing behind the server can take it up."""
    offer = b"x-before: 1\r\nconnection: upgrade\r\nupgrade: h2c\r\nx-after: \xe9 2\r\n"
    _, echo = all_of([post(offer) + LAST])

    names = [name for name, _ in echo.headers[0]]
    assert [b"host", b"x-before", b"connection", b"x-after", b"content-length"] == names
    assert (b"x-after", b"\xe9 2") in echo.headers[0]


def test_five_thousand_offers_in_one_segment() -> None:
    """Each is answered: no recursion, and no time that grows with the square of their number."""
    offer = get(HOST + b"connection: upgrade\r\nupgrade: h2c\r\n")
    count = 5_000
    answers, echo = all_of([offer * count + LAST])

    assert count + 1 == len(answers) == len(echo.seen)


@pytest.mark.parametrize(("method", "target"), [(b"CONNECT", b"x:80"), (b"OPTIONS", b"*")])
def test_what_is_for_no_resource_is_405_and_closes(method: bytes, target: bytes) -> None:
    """No tunnel is opened, and its first bytes are no request."""
    answers, echo = all_of([get(method=method, target=target) + INNER])

    assert [(405, "GET, HEAD, POST", "close")] == [
        (each.status, each.headers["allow"], each.headers["connection"]) for each in answers
    ]
    assert [] == echo.seen


@pytest.mark.parametrize("broken", [b"garbage\r\n\r\n", post(b"").replace(b"POST", b"post"), get(b"")])
def test_a_refusal_waits_for_the_answers_before_it(broken: bytes) -> None:
    """The first response is the first request's, however long that takes."""

    async def play() -> list[Answered]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get(target=b"/held") + get(target=b"/b") + broken)
            await until(lambda: echo.seen == ["GET /held 0"])
            echo.let_go.set()
            received = await reader.read()
            writer.close()
            return responses(received)

    assert [(200, b"GET /held 0"), (200, b"GET /b 0"), (400, b"")] == [
        (each.status, each.body if each.status == 200 else b"") for each in asyncio.run(play())
    ]


def test_a_refused_body_of_a_request_that_waits_its_turn() -> None:
    """The app never sees that request; the one before it is answered first."""
    bad = chunked(b"", b"abc").replace(b"\r\n3\r\n", b"\r\nzz\r\n")
    answers, echo = all_of([get(target=b"/a") + get(target=b"/b") + bad + LAST])

    assert ["GET /a 0", "GET /b 0"] == echo.seen
    assert [200, 200, 400] == [each.status for each in answers]


def test_a_body_that_breaks_is_refused_once() -> None:
    """The app hears that it will not come, and what it would answer is not sent."""
    bad = chunked(b"", b"abc").replace(b"\r\n0\r\n", b"\r\nzz\r\n")

    async def play() -> tuple[list[Answered], int]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            answers = await ask(port, [bad + LAST])
            await until(lambda: echo.broken == 1)
            return answers, len(echo.seen)

    answers, seen = asyncio.run(play())
    assert ([400], 0) == ([each.status for each in answers], seen)


def test_a_body_that_breaks_after_the_answer_has_no_second_one() -> None:
    """The connection is closed, and that is all."""
    bad = chunked(b"", b"abc").replace(b"POST /a", b"POST /early").replace(b"\r\n0\r\n", b"\r\nzz\r\n")
    at = bad.index(b"\r\n\r\n") + 4

    async def play() -> list[Answered]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(bad[:at])
            received = await reader.readuntil(b"POST /early 0")
            writer.write(bad[at:] + LAST)
            received += await reader.read()
            writer.close()
            assert ["POST /early 0"] == echo.seen
            return responses(received)

    assert [200] == [each.status for each in asyncio.run(play())]


@pytest.mark.parametrize("offer", [b"", b"connection: upgrade\r\nupgrade: h2c\r\n"], ids=["plain", "with an offer"])
def test_who_waits_for_100_and_is_answered_at_once_has_no_second_request_read_as_a_body(offer: bytes) -> None:
    """The connection is closed after such an answer; when the app reads the body, 100 comes first."""
    head = post(offer + b"expect: 100-continue\r\n", b"abc")
    early = head.replace(b"POST /a", b"POST /early")[: -len(b"abc")]
    answers, echo = all_of([early])
    assert [(200, "close")] == [(each.status, each.headers["connection"]) for each in answers]
    assert ["POST /early 0"] == echo.seen

    async def play() -> bytes:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(head[: -len(b"abc")])
            assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
            writer.write(b"abc")
            received = await reader.read()
            writer.close()
            return received

    assert [b"POST /a 3"] == [each.body for each in responses(asyncio.run(play()))]


def test_a_trailer_is_no_header() -> None:
    """What comes after the body cannot add a token, a key or a host."""
    trailers = b"dapr-api-token: stolen\r\nhost: y\r\nidempotency-key: k\r\n"
    _, echo = all_of([chunked(b"", b"abc", trailers=trailers) + LAST])

    assert [b"host", b"transfer-encoding"] == [name for name, _ in echo.headers[0]]


@pytest.mark.parametrize(
    "endless",
    [b"3;" + b"a" * 700_000, b"0" * 700_000, b"0\r\nx: " + b"a" * 700_000, b"0\r\n" + b"x: y\r\n" * 120_000],
    ids=["an extension", "a size", "a trailer", "trailers"],
)
def test_what_is_no_content_is_limited_in_a_body_too(endless: bytes) -> None:
    """It would be kept, or read, without end."""
    answers, echo = all_of([chunked(b"", b"abc").replace(b"\r\n0\r\n\r\n", b"\r\n") + endless])

    assert ([400], []) == ([each.status for each in answers], echo.seen)


def test_the_host_of_an_absolute_target_counts() -> None:
    """RFC 9112 section 3.2.2: the Host header beside it is ignored."""
    _, echo = all_of([get(target=b"http://real:1/a") + LAST])

    assert [(b"host", b"real:1")] == echo.headers[0]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (get(HOST + b"x: y\r\n" * (HEADERS_MAX - 1)), 200),
        (get(HOST + b"x: y\r\n" * HEADERS_MAX), 431),
        (get() + get(HOST + b"x: " + b"a" * HEAD_BYTES_MAX + b"\r\n"), 431),
        (get(HOST + b"connection: upgrade\r\nupgrade: h2c\r\nx: " + b"a" * HEAD_BYTES_MAX + b"\r\n"), 431),
    ],
    ids=["1,000 headers", "1,001", "a second head that is too large", "a large one with an offer"],
)
def test_a_head_is_limited_wherever_it_begins(sent: bytes, status: int) -> None:
    """Also behind another request in one segment."""
    answers, _ = all_of([sent + LAST])

    assert status in [each.status for each in answers[-2:]]
    assert (431 in [each.status for each in answers]) == (status == 431)


def test_offers_are_tried() -> None:
    """The list is not empty by accident."""
    assert 20 < len(OFFERS)
