"""Calls to the server of grpcio, an independent implementation of gRPC and HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
import uvloop

from sidecart.chassis.http2.call import Reply
from sidecart.chassis.http2.channel import Channel
from sidecart.chassis.http2.header_blocks import RequestHead

Handler = Callable[[bytes, Any], Awaitable[bytes]]
METHOD = "/toy.Lamps/Switch"
MESSAGES_MAX = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def echo(request: bytes, context: Any) -> bytes:
    """Answer with the request, after a pause that depends on it."""
    await asyncio.sleep((len(request) % 7) / 1_000)
    return request


def play(
    scenario: Callable[[Channel, RequestHead, Any], Awaitable[None]], handler: Handler = echo, *options: tuple[str, int]
) -> None:
    """Run a scenario against a server with one method."""

    async def run() -> None:
        server = grpc.aio.server(options=[*MESSAGES_MAX, *options])
        methods = {"Switch": grpc.unary_unary_rpc_method_handler(handler)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy.Lamps", methods),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = Channel("127.0.0.1", port, "toy", {"dapr-api-token": "secret"})
        try:
            async with asyncio.timeout(60):
                await scenario(channel, channel.head(METHOD), server)
        finally:
            channel.close()
            await server.stop(None)

    uvloop.run(run())


def test_many_calls_of_many_sizes() -> None:
    """Small and large messages share one connection; each call gets its own."""

    async def scenario(channel: Channel, head: RequestHead, server: Any) -> None:
        sizes = [number * 7 % 300 if number % 50 else number * 2_000 for number in range(1_000)]
        messages = [size.to_bytes(4, "big") + b"m" * size for size in sizes]
        replies = await asyncio.gather(*(channel.call(head, message, 50) for message in messages))
        assert messages == [reply.message for reply in replies]

    play(scenario)


def test_the_servers_limit_of_streams_holds() -> None:
    """The server would refuse a call too many."""
    most = running = 0

    async def count(request: bytes, context: Any) -> bytes:
        nonlocal most, running
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return request

    async def scenario(channel: Channel, head: RequestHead, server: Any) -> None:
        replies = await asyncio.gather(*(channel.call(head, b"%d" % number, 50) for number in range(100)))
        assert [b"%d" % number for number in range(100)] == [reply.message for reply in replies]

    play(scenario, count, ("grpc.max_concurrent_streams", 4))
    assert most <= 4


def test_an_error_has_its_code_and_text() -> None:
    """Of a method, and of a method that does not exist."""

    async def refuse(request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.ABORTED, "a café, 100 %")
        raise AssertionError

    async def scenario(channel: Channel, head: RequestHead, server: Any) -> None:
        assert Reply(10, "a café, 100 %", b"") == await channel.call(head, b"", 5)
        assert 12 == (await channel.call(channel.head("/toy.Lamps/Nothing"), b"", 5)).code

    play(scenario, refuse)


def test_a_late_and_a_canceled_call_are_canceled_at_the_server() -> None:
    """The server learns of both by the end of their streams."""
    canceled, both = 0, asyncio.Event()

    async def hang(request: bytes, context: Any) -> bytes:
        nonlocal canceled
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            canceled += 1
            if canceled == 2:
                both.set()
            raise
        return b""

    async def scenario(channel: Channel, head: RequestHead, server: Any) -> None:
        call = asyncio.create_task(channel.call(head, b"", 20))
        with pytest.raises(TimeoutError):
            await channel.call(head, b"", 0.3)
        call.cancel()
        await both.wait()

    play(scenario, hang)


def test_a_server_that_stops_gracefully_loses_no_call() -> None:
    """It sends GOAWAY and finishes the calls under way."""
    running = asyncio.Event()

    async def slow(request: bytes, context: Any) -> bytes:
        running.set()
        await asyncio.sleep(0.2)
        return request

    async def scenario(channel: Channel, head: RequestHead, server: Any) -> None:
        call = asyncio.create_task(channel.call(head, b"a", 20))
        await running.wait()
        await server.stop(10)
        assert b"a" == (await call).message

    play(scenario, slow)
