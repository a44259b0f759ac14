"""Request framing on a real socket: one response per request, and none for bytes of a body."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from sidecart.chassis.server.protocol import BoundedHttp
from sidecart.chassis.server.request_head import HEAD_BYTES_MAX, HEADERS_MAX
from sidecart.chassis.server.serve import server_config
from sidecart.chassis.settings import Settings
from sidecart.launcher.ports import free_port
from tests.e2e.raw import CLOSED, HOST, INNER, LAST, OFFERS, READ, REFUSED, Answered, chunked, get, post, responses
from tests.unit.edge.fakes import until

SECONDS_MAX = 60
CUT = [
    case
    for case in READ
    if any(word in case[0] for word in ("h2c", "chunks", "row", "pipelined", "trailers", "absolute"))
]


class Counting(BoundedHttp):
    """The protocol of every app, which also counts the received bytes."""

    seen = 0

    def data_received(self, data: bytes) -> None:
        """Count the bytes after parsing them."""
        super().data_received(data)
        Counting.seen += len(data)


class Echo:
    """An app that answers with method, path and body size.

    `/held` waits until it is released; `/early` does not read its body.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.released = asyncio.Event()
        self.broken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI scope."""
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
            await self.released.wait()
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
    """Serve the echo app with the configuration of every app."""
    port, echo = free_port(), Echo()
    config = server_config(echo, Settings("127.0.0.1", port, 1, "a", "b"))
    assert isinstance(config.http, type)
    assert issubclass(config.http, BoundedHttp)
    config.http = Counting
    server = uvicorn.Server(config)
    # serve() would replace the test run's signal handlers.
    task = asyncio.create_task(server._serve())
    try:
        await until(lambda: server.started)
        yield port, echo
    finally:
        echo.released.set()
        server.should_exit = True
        await task


async def ask(port: int, pieces: Sequence[bytes], methods: Sequence[str] = ()) -> list[Answered]:
    """Send each piece once the previous one was read; return all responses until the close."""
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
    """Serve, send once and stop; return the responses and the app."""

    async def play() -> tuple[list[Answered], Echo]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            return await ask(port, pieces, methods), echo

    return asyncio.run(play())


def methods_of(seen: Sequence[str]) -> list[str]:
    """Return the methods of the requests that the app received."""
    return [each.split()[0] for each in seen]


def bodies_of(answers: Sequence[Answered], seen: Sequence[str]) -> list[str]:
    """Return the expected bodies of the responses; a response to HEAD has none."""
    return ["" if each.startswith("HEAD") else each for each in seen][: len(answers)]


@pytest.mark.parametrize(("sent", "seen"), [case[1:] for case in READ], ids=[case[0] for case in READ])
def test_a_request_is_answered_once_and_the_next_one_after_it(sent: bytes, seen: list[str]) -> None:
    """Each request gets one response, and the next request is parsed from its own start."""
    expected = [*seen, "GET /last 0"]
    answers, echo = all_of([sent + LAST], methods_of(seen))

    assert expected == echo.seen
    assert [200] * len(expected) == [each.status for each in answers]
    assert bodies_of(answers, expected) == [each.body.decode() for each in answers]


@pytest.mark.parametrize(("sent", "seen"), [case[1:] for case in CLOSED], ids=[case[0] for case in CLOSED])
def test_a_request_that_ends_the_connection_is_answered_and_no_later_one(sent: bytes, seen: list[str]) -> None:
    """A later request on the same connection is not processed."""
    answers, echo = all_of([sent + LAST], methods_of(seen))

    assert seen == echo.seen
    assert [200] == [each.status for each in answers]


@pytest.mark.parametrize("sent", [case[1] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_ambiguous_request_is_rejected_and_the_connection_closed(sent: bytes) -> None:
    """An ambiguous request gets one 400, and neither it nor a later request reaches the app."""
    answers, echo = all_of([sent + LAST])

    assert [] == echo.seen
    assert [(400, "close")] == [(each.status, each.headers.get("connection")) for each in answers]
    assert "urn:sidecart:problem:not_http" == json.loads(answers[0].body)["type"]


@pytest.mark.parametrize(
    ("sent", "seen"),
    [case[1:] for case in CUT],
    ids=[case[0] for case in CUT],
)
def test_segments_do_not_change_the_responses(sent: bytes, seen: list[str]) -> None:
    """Requests cut at any byte, or sent byte by byte, get the same responses as in one piece."""
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
def test_a_rejection_does_not_depend_on_segments(sent: bytes) -> None:
    """A rejected request sent byte by byte gets one 400 and does not reach the app."""

    async def play() -> None:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            answers = await ask(port, [sent[at : at + 1] for at in range(len(sent))] + [LAST])
            assert ([400], []) == ([each.status for each in answers], echo.seen)

    asyncio.run(play())


def test_only_the_upgrade_header_is_removed() -> None:
    """The app receives all headers but Upgrade, because no server accepts the offer."""
    offer = b"x-before: 1\r\nconnection: upgrade\r\nupgrade: h2c\r\nx-after: \xe9 2\r\n"
    _, echo = all_of([post(offer) + LAST])

    names = [name for name, _ in echo.headers[0]]
    assert [b"host", b"x-before", b"connection", b"x-after", b"content-length"] == names
    assert (b"x-after", b"\xe9 2") in echo.headers[0]


def test_five_thousand_offers_in_one_segment() -> None:
    """5,000 upgrade offers in one segment are all answered, without recursion or quadratic time."""
    offer = get(HOST + b"connection: upgrade\r\nupgrade: h2c\r\n")
    count = 5_000
    answers, echo = all_of([offer * count + LAST])

    assert count + 1 == len(answers) == len(echo.seen)


@pytest.mark.parametrize(("method", "target"), [(b"CONNECT", b"x:80"), (b"OPTIONS", b"*")])
def test_a_request_without_a_resource_is_405_and_closes(method: bytes, target: bytes) -> None:
    """CONNECT and `OPTIONS *` get a 405, and later bytes are not parsed as a request."""
    answers, echo = all_of([get(method=method, target=target) + INNER])

    assert [(405, "GET, HEAD, POST, DELETE", "close")] == [
        (each.status, each.headers["allow"], each.headers["connection"]) for each in answers
    ]
    assert [] == echo.seen


@pytest.mark.parametrize("broken", [b"garbage\r\n\r\n", post(b"").replace(b"POST", b"post"), get(b"")])
def test_a_rejection_waits_for_earlier_responses(broken: bytes) -> None:
    """A rejection is sent after the responses to all earlier requests."""

    async def play() -> list[Answered]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(get(target=b"/held") + get(target=b"/b") + broken)
            await until(lambda: echo.seen == ["GET /held 0"])
            echo.released.set()
            received = await reader.read()
            writer.close()
            return responses(received)

    assert [(200, b"GET /held 0"), (200, b"GET /b 0"), (400, b"")] == [
        (each.status, each.body if each.status == 200 else b"") for each in asyncio.run(play())
    ]


def test_a_queued_request_with_a_broken_body_is_rejected() -> None:
    """A queued request with a broken body gets a 400 in its turn, and the app never receives it."""
    bad = chunked(b"", b"abc").replace(b"\r\n3\r\n", b"\r\nzz\r\n")
    answers, echo = all_of([get(target=b"/a") + get(target=b"/b") + bad + LAST])

    assert ["GET /a 0", "GET /b 0"] == echo.seen
    assert [200, 200, 400] == [each.status for each in answers]


def test_a_broken_body_is_rejected_once() -> None:
    """The app gets a disconnect, and its own response is not sent."""
    bad = chunked(b"", b"abc").replace(b"\r\n0\r\n", b"\r\nzz\r\n")

    async def play() -> tuple[list[Answered], int]:
        async with asyncio.timeout(SECONDS_MAX), serving() as (port, echo):
            answers = await ask(port, [bad + LAST])
            await until(lambda: echo.broken == 1)
            return answers, len(echo.seen)

    answers, seen = asyncio.run(play())
    assert ([400], 0) == ([each.status for each in answers], seen)


def test_a_body_that_breaks_after_the_response_gets_no_second_one() -> None:
    """A broken body after the response only closes the connection."""
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
def test_a_response_before_100_continue_closes_the_connection(offer: bytes) -> None:
    """A response without `100 Continue` closes the connection; reading the body sends 100 first."""
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


def test_a_trailer_is_not_a_header() -> None:
    """A trailer cannot add a token, a key or a host."""
    trailers = b"dapr-api-token: stolen\r\nhost: y\r\nidempotency-key: k\r\n"
    _, echo = all_of([chunked(b"", b"abc", trailers=trailers) + LAST])

    assert [b"host", b"transfer-encoding"] == [name for name, _ in echo.headers[0]]


@pytest.mark.parametrize(
    "endless",
    [b"3;" + b"a" * 700_000, b"0" * 700_000, b"0\r\nx: " + b"a" * 700_000, b"0\r\n" + b"x: y\r\n" * 120_000],
    ids=["an extension", "a size", "a trailer", "trailers"],
)
def test_bytes_outside_the_content_of_a_body_are_limited(endless: bytes) -> None:
    """Endless extensions, sizes and trailers are rejected, because they would fill the memory."""
    answers, echo = all_of([chunked(b"", b"abc").replace(b"\r\n0\r\n\r\n", b"\r\n") + endless])

    assert ([400], []) == ([each.status for each in answers], echo.seen)


def test_the_host_of_an_absolute_target_counts() -> None:
    """The host of an absolute target replaces the Host header (RFC 9112 section 3.2.2)."""
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
    """A head that is too large gets a 431, also behind another request in the same segment."""
    answers, _ = all_of([sent + LAST])

    assert status in [each.status for each in answers[-2:]]
    assert (431 in [each.status for each in answers]) == (status == 431)


def test_the_list_of_offers_is_not_empty() -> None:
    """The list of upgrade offers has more than 20 entries."""
    assert 20 < len(OFFERS)
