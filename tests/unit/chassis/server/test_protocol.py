"""Limits of the request head, and problem responses to malformed requests, on a real socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from sidecart.chassis.server import protocol
from sidecart.chassis.server.connection_limit import ConnectionLimit
from sidecart.chassis.server.request_head import HEAD_BYTES_MAX
from sidecart.chassis.server.serve import server_config
from sidecart.chassis.server.shutdown import GracefulServer, ShutdownSignal
from sidecart.chassis.settings import Settings
from sidecart.launcher.ports import free_port
from tests.unit.edge.fakes import until

HOST = b"host: x\r\n"
SECONDS_MAX = 20


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            await send({"type": f"{(await receive())['type']}.complete"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(b"%d" % size))]}
    )
    await send({"type": "http.response.body", "body": b"%d" % size})


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    """Serve with the configuration of every app; yield the port."""
    async with served(echo) as (_, port):
        yield port


@asynccontextmanager
async def served(app: ASGIApp, limit: ConnectionLimit | None = None) -> AsyncIterator[tuple[GracefulServer, int]]:
    """Serve an app with the configuration of every app; yield the server and the port."""
    port = free_port()
    config = server_config(app, Settings("127.0.0.1", port, 1, "a", "b"), limit)
    server = GracefulServer(config, ShutdownSignal(), 0)
    # serve() would replace the test run's signal handlers.
    task = asyncio.create_task(server._serve())
    try:
        await until(lambda: server.started)
        yield server, port
    finally:
        server.should_exit = True
        await task


async def ask(port: int, sent: bytes) -> tuple[int, bytes]:
    """Send the bytes and return the status and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)
    finally:
        writer.close()


def answer_to(sent: bytes) -> tuple[int, bytes]:
    """Serve, send once and stop; return the status and the body."""

    async def play() -> tuple[int, bytes]:
        async with asyncio.timeout(SECONDS_MAX), serving() as port:
            return await ask(port, sent)

    return asyncio.run(play())


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"garbage\r\n\r\n",
        b"FOO / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/3.0\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"x: a\x00b\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"x: a\r\n folded\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_malformed_http_is_a_problem(request_bytes: bytes) -> None:
    """A malformed request gets a 400 with the fields of every problem response."""
    status, body = answer_to(request_bytes)

    assert (400, "urn:sidecart:problem:not_http") == (status, json.loads(body)["type"])
    assert {"type", "title", "status", "detail", "trace_id"} == json.loads(body).keys()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"a" * HEAD_BYTES_MAX + b"\r\n\r\n",
        # Exactly one byte too many: bytes that the server leaves unread would reset the connection.
        (b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"a" * HEAD_BYTES_MAX)[: HEAD_BYTES_MAX + 1],
        (b"GET / HTTP/1.1\r\n" + HOST + b"x: y\r\n" * HEAD_BYTES_MAX)[: HEAD_BYTES_MAX + 1],
    ],
    ids=["one header", "a header that never ends", "headers without end"],
)
def test_a_head_that_is_too_large_is_431(sent: bytes) -> None:
    """A head that is too large gets a 431, even if it never ends."""
    status, body = answer_to(sent)

    assert (431, "urn:sidecart:problem:head_too_large") == (status, json.loads(body)["type"])


def test_only_the_head_is_counted() -> None:
    """The limit does not count the body, and starts again at the next request."""

    async def play() -> list[bytes]:
        large = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 200000\r\n\r\n" + b"a" * 200_000
        nearly = b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"a" * (HEAD_BYTES_MAX - 1_000) + b"\r\n\r\n"
        async with asyncio.timeout(SECONDS_MAX), serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            bodies = []
            for sent, size in ((large, 6), (nearly, 1), (nearly, 1), (large, 6)):
                writer.write(sent)
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                bodies.append(await reader.readexactly(size))
            writer.close()
            return bodies

    assert [b"200000", b"0", b"0", b"200000"] == asyncio.run(play())


def holding(asked: asyncio.Event, answered: asyncio.Event) -> ASGIApp:
    """Return an app that holds each request until the second event is set."""

    async def held(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            await answered.wait()
        await echo(scope, receive, send)

    return held


def end_if_late(server: GracefulServer, now: float) -> None:
    """Look at each connection as if it were `now`, in seconds of the event loop."""
    for connection in [*server.server_state.connections]:
        assert isinstance(connection, protocol.BoundedHttp)
        connection.end_if_late(now)


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send a byte of a header value or of a body now and then."""
    with suppress(OSError):
        while True:
            await asyncio.sleep(0.02)
            writer.write(b"0")


HEAD = b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 3\r\n\r\n"
LONG = HEAD.replace(b"3", b"9999")


@pytest.mark.parametrize(
    ("sent", "limit", "answers"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: ", "HEAD_SECONDS_MAX", [b"408"]),
        (LONG, "BODY_SECONDS_MAX", [b"408"]),
        (HEAD + b"abcGET / HTTP/1.1\r\nx: ", "HEAD_SECONDS_MAX", [b"200", b"408"]),
    ],
    ids=["a head", "a body", "a head after a request"],
)
def test_a_request_that_arrives_too_slowly_is_rejected(
    sent: bytes, limit: str, answers: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time counts from the first byte, so further bytes do not extend it."""
    monkeypatch.setattr(protocol, limit, 0.2)
    monkeypatch.setattr(protocol, "SWEEP_SECONDS", 0.05)

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS_MAX), serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            received, dripping = b"", asyncio.create_task(drip(writer))
            while part := await reader.read(1024):
                received += part
            dripping.cancel()
            writer.close()

        assert answers == re.findall(rb"HTTP/1\.1 (\d+)", received)
        assert b"urn:sidecart:problem:incomplete" in received

    asyncio.run(scenario())


def test_a_complete_request_may_be_answered_later() -> None:
    """A held request is complete, and an idle connection waits for the next request."""
    answering, answered = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS_MAX), served(holding(answering, answered)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"abc")
            await answering.wait()
            an_hour_later = asyncio.get_running_loop().time() + 3600
            end_if_late(server, an_hour_later)
            answered.set()
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            assert (await reader.readuntil(b"\r\n\r\n3")).endswith(b"3")
            end_if_late(server, an_hour_later)
            writer.write(HEAD + b"abc")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scenario())


def test_an_early_response_gives_its_body_no_more_time() -> None:
    """A client that goes on sending the body after a 401 is disconnected in time."""
    asked, answered = asyncio.Event(), asyncio.Event()

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.set()
            await answered.wait()
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS_MAX), served(early) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(LONG)
            await asked.wait()
            head_complete_at = asyncio.get_running_loop().time()
            await asyncio.sleep(0.1)
            answered.set()
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 401")
            end_if_late(server, head_complete_at + protocol.BODY_SECONDS_MAX + 0.05)
            assert b"" == await reader.read()
            writer.close()

    asyncio.run(scenario())


def test_an_unused_connection_ends_without_a_response() -> None:
    """Browsers and Go's client open connections in advance; the server ends them after a while."""

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS_MAX), served(echo) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: len(server.server_state.connections) == 1)
            now = asyncio.get_running_loop().time()
            end_if_late(server, now + 100)
            assert server.server_state.connections
            end_if_late(server, now + 130)
            assert b"" == await reader.read()
            writer.close()

    asyncio.run(scenario())


def test_a_pipelined_request_waits_for_the_one_before() -> None:
    """The server does not read while requests wait, so the client is not late."""
    first, answered = asyncio.Event(), asyncio.Event()

    async def scenario() -> None:
        async with asyncio.timeout(SECONDS_MAX), served(holding(first, answered)) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(HEAD + b"abc" + HEAD + b"ab")
            await first.wait()
            end_if_late(server, asyncio.get_running_loop().time() + 3600)
            answered.set()
            await reader.readuntil(b"\r\n\r\n3")
            writer.write(b"c")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(scenario())
