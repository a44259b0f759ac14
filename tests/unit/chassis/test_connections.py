"""The sidecar's connections: kept, one request at a time on each, and never one that an answer may still come on.

On the loop that the apps run on: its transports are not asyncio's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop

from chassis.connections import Answer, BrokenOff, Connections, NotConnected

OK = b"HTTP/1.1 200 OK\r\nETag: 7\r\ncontent-length: 2\r\n\r\nhi"
Reaction = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections and requests; `answer` gets the number of the request and where to write."""

    def __init__(self, answer: Reaction) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
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
    """A server on a free port, and connections to it."""
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
    """One request; a POST has a body."""
    body = b"body" if method == "POST" else None
    return await connections.request(method, "/v1.0/x%20y", body, "text/plain", seconds)


async def ok(_number: int, writer: asyncio.StreamWriter) -> None:
    """Answer at once."""
    writer.write(OK)


def test_a_request_is_written_whole_and_its_connection_is_used_again() -> None:
    """With the token, and the path as it was given."""

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


def test_an_answer_may_come_in_pieces_and_in_chunks() -> None:
    """After a 100, which is none."""

    async def slowly(_number: int, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        for byte in head + b"2\r\nhi\r\n1\r\n!\r\n0\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()

    async def scenario() -> None:
        async with served(slowly) as (_, connections):
            assert Answer(200, b"hi!", None) == await ask(connections)

    uvloop.run(scenario())


def test_as_many_connections_as_are_asked_at_once_and_no_more_than_the_limit() -> None:
    """The others wait for one."""

    async def scenario() -> None:
        asked, go = asyncio.Event(), asyncio.Event()

        async def held(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 3:
                asked.set()
            await go.wait()
            writer.write(OK)

        async with served(held, connections_max=3) as (server, connections):
            asking = asyncio.gather(*(ask(connections) for _ in range(8)))
            await asked.wait()
            go.set()
            await asking
            assert (3, 8) == (server.connections, len(server.requests))

    uvloop.run(scenario())


def test_nobody_listening() -> None:
    """Nothing was sent."""

    async def scenario() -> None:
        async with served(ok) as (server, _):
            port = server.port
        with pytest.raises(NotConnected):
            await ask(Connections("127.0.0.1", port, {}, 1))

    uvloop.run(scenario())


@pytest.mark.parametrize(("method", "asked"), [("GET", 3), ("POST", 2)])
def test_on_a_kept_connection_that_ends_a_get_is_asked_once_more(method: str, asked: int) -> None:
    """A POST may have been carried out."""

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
            assert asked == len(server.requests)

    uvloop.run(scenario())


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", b""])
def test_what_is_no_whole_answer_is_none(answer: bytes) -> None:
    """Not HTTP, or the connection ended in the middle of it."""

    async def scenario() -> None:
        async def broken(_number: int, writer: asyncio.StreamWriter) -> None:
            writer.write(answer)
            writer.close()

        async with served(broken) as (_, connections):
            with pytest.raises(BrokenOff):
                await ask(connections)

    uvloop.run(scenario())


@pytest.mark.parametrize("how", ["late", "cancelled"])
def test_a_late_answer_is_nobody_elses(how: str) -> None:
    """Its connection is closed with the call."""

    async def scenario() -> None:
        asked, given_up = asyncio.Event(), asyncio.Event()

        async def first_is_late(number: int, writer: asyncio.StreamWriter) -> None:
            if number == 1:
                asked.set()
                await given_up.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
            else:
                writer.write(OK)

        async with served(first_is_late) as (server, connections):
            if how == "late":
                with pytest.raises(TimeoutError):
                    await ask(connections, seconds=0.5)  # on a busy machine 0.01 was over before it was asked
                assert asked.is_set()
            else:
                call = asyncio.create_task(ask(connections))
                await asked.wait()
                call.cancel()
                await asyncio.wait([call])
            given_up.set()
            assert b"hi" == (await ask(connections)).body
            assert 2 == server.connections

    uvloop.run(scenario())


def test_a_connection_that_the_server_ends_is_not_used_again() -> None:
    """`connection: close`, or an answer that nobody asked for."""

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
def test_a_path_that_is_not_ready_for_the_wire_is_refused(path: str) -> None:
    """It could say more than a path."""

    async def scenario() -> None:
        async with served(ok) as (server, connections):
            with pytest.raises(ValueError, match="not a path"):
                await connections.request("GET", path, None, "", 1.0)
            assert [] == server.requests

    uvloop.run(scenario())


def test_a_token_that_is_no_header_is_refused() -> None:
    """At the start, not at the first call."""
    with pytest.raises(ValueError, match="header"):
        Connections("127.0.0.1", 1, {"dapr-api-token": "a\r\nx: y"}, 1)


def test_a_connection_that_was_idle_for_long_is_not_used() -> None:
    """The server may be about to close it."""

    async def scenario() -> None:
        async with served(ok) as (server, connections):
            await ask(connections)
            connections._idle[0].idle_since -= 61
            await ask(connections)
            assert 2 == server.connections

    uvloop.run(scenario())
