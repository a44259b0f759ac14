"""The connection pool: reuse, one request at a time, and no reuse after an incomplete response.

The tests run on uvloop, as the apps do, because its transports differ from asyncio's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from sidecart.chassis.connections import Answer, Connections
from sidecart.chassis.http2.errors import BrokenOff, NotConnected

OK = b"HTTP/1.1 200 OK\r\nETag: 7\r\ncontent-length: 2\r\n\r\nhi"
Reaction = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections and requests; `answer` gets the request's number and the writer."""

    def __init__(self, answer: Reaction) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line[15:] for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), b"0"
                )
                self.requests.append(head + await reader.readexactly(int(length)))
                await self._answer(len(self.requests), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(answer: Reaction, connections_max: int = 10) -> AsyncIterator[tuple[Server, Connections]]:
    """Run a server on a free port, with a pool of connections to it."""
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    connections = Connections("127.0.0.1", server.port, {"dapr-api-token": "secret"}, connections_max)
    try:
        yield server, connections
    finally:
        connections.close()
        listening.close()


async def ask(connections: Connections, method: str = "GET", seconds: float = 5.0) -> Answer:
    """Send one request; a POST has a body."""
    body = b"body" if method == "POST" else None
    return await connections.request(method, "/v1.0/x%20y", body, "text/plain", seconds)


async def ok(_number: int, writer: asyncio.StreamWriter) -> None:
    """Answer at once."""
    writer.write(OK)


def test_a_request_is_complete_and_its_connection_is_reused() -> None:
    """A request has the token and the exact path, and the next one uses the same connection."""

    async def scenario() -> None:
        async with served(ok) as (server, connections):
            assert Answer(200, b"hi", "7") == await ask(connections)
            assert Answer(200, b"hi", "7") == await ask(connections, "POST")

        common = f"host: 127.0.0.1:{server.port}\r\ndapr-api-token: secret\r\n".encode()
        post = b"content-type: text/plain\r\ncontent-length: 4\r\n\r\nbody"
        assert [
            b"GET /v1.0/x%20y HTTP/1.1\r\n" + common + b"\r\n",
            b"POST /v1.0/x%20y HTTP/1.1\r\n" + common + post,
        ] == server.requests
        assert 1 == server.connections

    uvloop.run(scenario())


def test_a_response_may_be_split_and_chunked() -> None:
    """A chunked response is parsed byte by byte, after a `100 Continue`."""

    async def slowly(_number: int, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        for byte in head + b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()

    async def scenario() -> None:
        async with served(slowly) as (_, connections):
            assert Answer(200, b"hi!", None) == await ask(connections)

    uvloop.run(scenario())


def test_concurrent_requests_open_connections_up_to_the_limit() -> None:
    """Requests beyond the limit wait for a free connection."""

    async def scenario() -> None:
        received, go = asyncio.Event(), asyncio.Event()

        async def held(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 3:
                received.set()
            await go.wait()
            writer.write(OK)

        async with served(held, connections_max=3) as (server, connections):
            asking = asyncio.gather(*(ask(connections) for _ in range(8)))
            await received.wait()
            go.set()
            await asking
            assert (3, 8) == (server.connections, len(server.requests))

    uvloop.run(scenario())


def test_a_refused_connection_raises_not_connected() -> None:
    """A refused connection raises NotConnected."""

    async def scenario() -> None:
        async with served(ok) as (server, _):
            port = server.port
        with pytest.raises(NotConnected):
            await ask(Connections("127.0.0.1", port, {}, 1))

    uvloop.run(scenario())


@pytest.mark.parametrize(("method", "requests"), [("GET", 3), ("POST", 2)])
def test_only_a_get_is_retried_on_a_new_connection(method: str, requests: int) -> None:
    """If a reused connection ends, a GET is retried; a POST is not, as it may have taken effect."""

    async def scenario() -> None:
        async def second_is_cut(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 2:
                writer.transport.abort()
            else:
                writer.write(OK)

        async with served(second_is_cut) as (server, connections):
            await ask(connections)
            if method == "GET":
                await ask(connections)
            else:
                with pytest.raises(BrokenOff):
                    await ask(connections, method)
            assert requests == len(server.requests)

    uvloop.run(scenario())


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", b""])
def test_an_incomplete_response_raises_broken_off(answer: bytes) -> None:
    """A response that is not HTTP, or that ends early, raises BrokenOff."""

    async def scenario() -> None:
        async def broken(_number: int, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()

        async with served(broken) as (_, connections):
            with pytest.raises(BrokenOff):
                await ask(connections)

    uvloop.run(scenario())


@pytest.mark.parametrize("how", ["late", "cancelled"])
def test_a_late_response_reaches_no_other_request(how: str) -> None:
    """A call that times out or is canceled closes its connection."""

    async def scenario() -> None:
        received, abandoned = asyncio.Event(), asyncio.Event()

        async def first_is_late(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 1:
                received.set()
                await abandoned.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
            else:
                writer.write(OK)

        async with served(first_is_late) as (server, connections):
            if how == "late":
                with pytest.raises(TimeoutError):
                    await ask(connections, seconds=0.5)  # 0.01 s is too short on a busy machine
                assert received.is_set()
            else:
                call = asyncio.create_task(ask(connections))
                await received.wait()
                call.cancel()
                await asyncio.wait([call])
            abandoned.set()
            assert b"hi" == (await ask(connections)).body
            assert 2 == server.connections

    uvloop.run(scenario())


def test_a_connection_that_the_server_closes_is_not_reused() -> None:
    """`connection: close` or an unexpected response ends the reuse of a connection."""

    async def scenario() -> None:
        async def closing(number: int, writer: asyncio.StreamWriter) -> None:
            writer.write(OK.replace(b"ETag: 7", b"connection: close") if number == 1 else OK)
            if number == 2:
                writer.write(OK)

        async with served(closing) as (server, connections):
            for _ in range(3):
                await ask(connections, "POST")
                await asyncio.sleep(0.01)
            assert 3 == server.connections

    uvloop.run(scenario())


@pytest.mark.parametrize("path", ["/a b", "/a\r\nx: y", "/ä", "/a\x00"])
def test_an_unencoded_path_is_rejected(path: str) -> None:
    """A path with unencoded characters is rejected, because it could inject headers."""

    async def scenario() -> None:
        async with served(ok) as (server, connections):
            with pytest.raises(ValueError, match="not a path"):
                await connections.request("GET", path, None, "", 1.0)
            assert [] == server.requests

    uvloop.run(scenario())


def test_a_token_that_is_not_a_valid_header_is_rejected() -> None:
    """An invalid token raises ValueError when the pool is created."""
    with pytest.raises(ValueError, match="header"):
        Connections("127.0.0.1", 1, {"dapr-api-token": "a\r\nx: y"}, 1)


def test_a_long_idle_connection_is_not_reused() -> None:
    """After more than 60 s idle, a connection is replaced, because the server may be closing it."""

    async def scenario() -> None:
        async with served(ok) as (server, connections):
            await ask(connections)
            connections._idle[0].idle_since -= 61
            await ask(connections)
            assert 2 == server.connections

    uvloop.run(scenario())
