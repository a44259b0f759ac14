"""Calls over one channel, against a server that checks the protocol."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple
from hyperframe.frame import GoAwayFrame

from sidecart.chassis.http2 import channel as channel_module
from sidecart.chassis.http2 import connection as connection_module
from sidecart.chassis.http2.call import RESOURCE_EXHAUSTED, Reply
from sidecart.chassis.http2.channel import Channel
from sidecart.chassis.http2.errors import BrokenOff, NotConnected
from sidecart.chassis.http2.header_blocks import RequestHead
from sidecart.chassis.http2.settings import MESSAGE_BYTES_MAX
from tests.unit.chassis.http2.h2_server import METHOD, H2Server, Request, served

REFUSED_STREAM, CANCEL, INTERNAL_ERROR = 7, 8, 2
Scenario = Callable[[Channel, RequestHead], Awaitable[None]]


def play(server: H2Server, scenario: Scenario) -> None:
    """Run a scenario against a server."""

    async def run() -> None:
        async with served(server) as (channel, head), asyncio.timeout(30):
            await scenario(channel, head)

    uvloop.run(run())


def test_a_call_has_the_head_of_grpc_and_a_secret_token() -> None:
    """The token is a literal that no table and no intermediary keeps."""
    server = H2Server()

    async def scenario(channel: Channel, head: RequestHead) -> None:
        assert Reply(0, "", b"hi") == await channel.call(head, b"hi", 5)
        await channel.call(head.plus("traceparent", "00-a-b-01"), b"", 5)

    play(server, scenario)

    first, second = server.requests
    assert [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", METHOD),
        (":authority", f"127.0.0.1:{server.port}"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("dapr-api-token", "secret"),
    ] == [tuple(each) for each in first.headers]
    assert isinstance(first.headers[-1], NeverIndexedHeaderTuple)
    assert ("traceparent", "00-a-b-01") == tuple(second.headers[-1])
    assert (b"\x00\x00\x00\x00\x02hi", b"\x00\x00\x00\x00\x00") == (first.body, second.body)


def test_concurrent_calls_get_their_own_replies_in_any_order() -> None:
    """Two thousand calls share one connection; the server answers in random order."""
    waiting: list[Request] = []

    async def shuffled(request: Request) -> None:
        waiting.append(request)
        if len(waiting) == 200:
            random.Random(len(request.message)).shuffle(waiting)
            while waiting:
                waiting.pop().reply()

    server = H2Server(shuffled)

    async def scenario(channel: Channel, head: RequestHead) -> None:
        messages = [b"%d" % number * (number % 50) for number in range(2_000)]
        replies = await asyncio.gather(*(channel.call(head, message, 20) for message in messages))
        assert messages == [reply.message for reply in replies]

    play(server, scenario)
    assert 1 == len(server.peers)
    assert server.most_open <= 256


@pytest.mark.parametrize("how", ["trailers", "trailers only"])
def test_a_reply_has_the_code_and_the_text_of_the_server(how: str) -> None:
    """The text is percent-encoded UTF-8."""

    async def refuse(request: Request) -> None:
        if how == "trailers":
            request.reply(b"ignored", 10, "caf%C3%A9 100%25")
        else:
            request.refuse(10, "caf%C3%A9 100%25")

    async def scenario(channel: Channel, head: RequestHead) -> None:
        assert Reply(10, "café 100%", b"") == await channel.call(head, b"", 5)

    play(H2Server(refuse), scenario)


@pytest.mark.parametrize("limit", [1, 3])
def test_calls_beyond_the_servers_limit_of_streams_wait(limit: int) -> None:
    """The server raises the limit later, and calls use it at once."""
    held: list[Request] = []
    server = H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: limit})

    async def hold(request: Request) -> None:
        held.append(request)

    server.answer = hold

    async def scenario(channel: Channel, head: RequestHead) -> None:
        calls = asyncio.gather(*(channel.call(head, b"%d" % number, 20) for number in range(12)))
        await server.until(lambda: len(held) == limit)
        held[0].reply()
        await server.until(lambda: len(held) == limit + 1)
        peer = server.peers[0]
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 100})
        peer.flush()
        await server.until(lambda: len(held) == 12)
        for request in held[1:]:
            request.reply()
        assert [b"%d" % number for number in range(12)] == [reply.message for reply in await calls]

    play(server, scenario)


@pytest.mark.parametrize("window", [0, 1, 7, 16_384, 1_000_000])
def test_a_request_fits_into_any_window(window: int) -> None:
    """The server opens small windows bit by bit; h2 raises an error for a byte too many."""
    server = H2Server(settings={SettingCodes.INITIAL_WINDOW_SIZE: window})
    message = random.Random(window).randbytes(100_000 if window > 100 else 300)

    async def scenario(channel: Channel, head: RequestHead) -> None:
        calls = asyncio.gather(*(channel.call(head, message, 20) for _ in range(3)))
        if not window:
            await server.until(lambda: bool(server.peers and server.peers[0].open))
            peer = server.peers[0]
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
            peer.flush()
        assert [message] * 3 == [reply.message for reply in await calls]

    play(server, scenario)


def test_a_window_that_shrinks_during_a_request_becomes_negative() -> None:
    """After a change of the initial window, a stream waits until its window is positive again."""
    server = H2Server(opens_windows=False, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1_000})

    async def scenario(channel: Channel, head: RequestHead) -> None:
        call = asyncio.create_task(channel.call(head, b"x" * 2_000, 20))
        await server.until(lambda: bool(server.peers) and 1_000 in [len(e.body) for e in server.peers[0].open.values()])
        peer = server.peers[0]
        request = next(iter(peer.open.values()))
        for window in (100, 900):  # -900, then -100
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        peer.h2.ping(bytes(8))
        peer.flush()
        await server.until(lambda: server.pongs == 1)
        assert 1_000 == len(request.body)
        peer.h2.increment_flow_control_window(150, request.stream_id)
        peer.flush()
        await server.until(lambda: len(request.body) == 1_050)
        peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 5_000})
        peer.flush()
        assert b"x" * 2_000 == (await call).message

    play(server, scenario)


def test_responses_of_any_size_and_padding_pass_the_windows() -> None:
    """The client opens the connection's window again before it is used up."""

    async def large(request: Request) -> None:
        size, peer, number = int(request.message), request.peer, request.stream_id
        peer.h2.send_headers(number, [(":status", "200"), ("content-type", "application/grpc+proto")])
        body = b"\x00" + size.to_bytes(4, "big") + b"z" * size
        position = 0
        while position < len(body):
            window = peer.h2.local_flow_control_window(number)
            part = body[position : position + min(window - 20, 16_000)] if window > 20 else b""
            if not part:
                peer.flush()
                await asyncio.sleep(0.001)
                continue
            peer.h2.send_data(number, part, pad_length=19)
            position += len(part)
        peer.h2.send_headers(number, [("grpc-status", "0")], end_stream=True)
        peer.flush()

    async def scenario(channel: Channel, head: RequestHead) -> None:
        sizes = [MESSAGE_BYTES_MAX - 1, 3_000_000, 0, 1, 4_000_000, MESSAGE_BYTES_MAX, 2_000_000, 16_384, 5_000, 70_000]
        replies = await asyncio.gather(*(channel.call(head, b"%d" % size, 20) for size in sizes))
        assert sizes == [len(reply.message) for reply in replies]

    play(H2Server(large), scenario)


def test_an_oversized_request_is_not_sent() -> None:
    """The reply is the one that a sidecar would send."""
    server = H2Server()

    async def scenario(channel: Channel, head: RequestHead) -> None:
        assert RESOURCE_EXHAUSTED == (await channel.call(head, bytes(MESSAGE_BYTES_MAX + 1), 5)).code

    play(server, scenario)
    assert [] == server.requests


# --- GOAWAY, RST_STREAM, and lost connections


@pytest.mark.parametrize("processed", [True, False])
def test_a_call_above_the_last_stream_of_goaway_is_sent_again(processed: bool) -> None:
    """The server did not process it; the other calls continue on the old connection."""
    server, held = H2Server(), list[Request]()

    async def leave(request: Request) -> None:
        held.append(request)
        if len(server.peers) == 2:
            request.reply()
        elif len(held) == 2:
            last = held[0].stream_id + (2 if processed else 0)
            request.peer.send(GoAwayFrame(0, last_stream_id=last))
            for each in held[: 2 if processed else 1]:
                each.reply()

    server.answer = leave

    async def scenario(channel: Channel, head: RequestHead) -> None:
        replies = await asyncio.gather(*(channel.call(head, each, 5) for each in (b"a", b"b")))
        assert [b"a", b"b"] == [reply.message for reply in replies]
        assert b"c" == (await channel.call(head, b"c", 5)).message

    play(server, scenario)
    assert (2, 3 if processed else 4) == (len(server.peers), len(server.requests))


def test_a_graceful_shutdown_loses_no_call() -> None:
    """As daprd ends a connection: GOAWAY with the highest number first, then a PING."""
    server = H2Server()

    async def leave(request: Request) -> None:
        peer = request.peer
        if len(server.requests) == 1:
            peer.send(GoAwayFrame(0, last_stream_id=2**31 - 1))
            peer.h2.ping(bytes(8))
            peer.flush()
            await server.until(lambda: server.pongs == 1)
            peer.send(GoAwayFrame(0, last_stream_id=request.stream_id))
        request.reply()

    server.answer = leave

    async def scenario(channel: Channel, head: RequestHead) -> None:
        assert b"a" == (await channel.call(head, b"a", 5)).message
        assert b"b" == (await channel.call(head, b"b", 5)).message

    play(server, scenario)
    assert (2, 2) == (len(server.peers), len(server.requests))


@pytest.mark.parametrize(("refusals", "requests"), [(1, 2), (4, 5), (5, 5)])
def test_a_refused_stream_is_sent_again(refusals: int, requests: int) -> None:
    """After five refusals the call fails, certainly not processed."""
    server = H2Server()

    async def refuse(request: Request) -> None:
        if len(server.requests) <= refusals:
            request.reset(REFUSED_STREAM)
        else:
            request.reply()

    server.answer = refuse

    async def scenario(channel: Channel, head: RequestHead) -> None:
        if refusals < 5:
            assert b"a" == (await channel.call(head, b"a", 5)).message
        else:
            with pytest.raises(NotConnected, match="REFUSED_STREAM"):
                await channel.call(head, b"a", 5)

    play(server, scenario)
    assert (1, requests) == (len(server.peers), len(server.requests))


def test_a_reset_stream_leaves_its_outcome_unknown_and_no_other() -> None:
    """Calls on other streams of the connection get their replies."""

    async def reset_some(request: Request) -> None:
        if request.message == b"bad":
            request.reset(INTERNAL_ERROR)
        else:
            request.reply()

    server = H2Server(reset_some)

    async def scenario(channel: Channel, head: RequestHead) -> None:
        results = await asyncio.gather(
            *(channel.call(head, each, 5) for each in (b"a", b"bad", b"b")), return_exceptions=True
        )
        assert [Reply, BrokenOff, Reply] == [type(result) for result in results]

    play(server, scenario)
    assert 1 == len(server.peers)


@pytest.mark.parametrize(("is_idempotent", "requests"), [(True, 4), (False, 2)])
def test_a_lost_connection_leaves_every_outcome_unknown(is_idempotent: bool, requests: int) -> None:
    """Only an idempotent call is sent again, once."""
    server = H2Server()

    async def cut(request: Request) -> None:
        if len(server.requests) == 2 * len(server.peers):
            request.peer.close()

    server.answer = cut

    async def scenario(channel: Channel, head: RequestHead) -> None:
        results = await asyncio.gather(
            *(channel.call(head, each, 5, is_idempotent=is_idempotent) for each in (b"a", b"b")),
            return_exceptions=True,
        )
        assert [BrokenOff, BrokenOff] == [type(result) for result in results]

    play(server, scenario)
    assert requests == len(server.requests)


def test_an_idempotent_call_survives_a_restart() -> None:
    """Its second attempt is on a new connection, within the same deadline."""
    server = H2Server()

    async def cut_first(request: Request) -> None:
        if len(server.peers) == 1:
            request.peer.close()
        else:
            request.reply()

    server.answer = cut_first

    async def scenario(channel: Channel, head: RequestHead) -> None:
        assert b"a" == (await channel.call(head, b"a", 5, is_idempotent=True)).message

    play(server, scenario)


def test_without_a_server_nothing_is_sent() -> None:
    """A refused connection fails all calls that wait for it, and a later call tries again."""

    async def run() -> None:
        server = H2Server()
        async with served(server):
            pass
        channel = Channel("127.0.0.1", server.port, "toy", {})
        results = await asyncio.gather(
            *(channel.call(channel.head(METHOD), b"", 5) for _ in range(3)), return_exceptions=True
        )
        assert [NotConnected] * 3 == [type(result) for result in results]
        listening = await asyncio.start_server(server.serve, "127.0.0.1", server.port)
        assert b"a" == (await channel.call(channel.head(METHOD), b"a", 5)).message
        channel.close()
        listening.close()

    uvloop.run(run())


@pytest.mark.parametrize("preface", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_server_without_http2_gets_no_call(preface: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls wait for the server's SETTINGS: a silent or other server has not processed them."""
    monkeypatch.setattr(channel_module, "CONNECT_SECONDS_MAX", 0.1)
    received = bytearray()

    async def run() -> None:
        async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(preface)
            while data := await reader.read(1_000):
                received.extend(data)
            writer.close()

        async with await asyncio.start_server(other, "127.0.0.1", 0) as listening:
            channel = Channel("127.0.0.1", listening.sockets[0].getsockname()[1], "toy", {})
            with pytest.raises(NotConnected):
                await channel.call(channel.head(METHOD), b"message", 5)
            channel.close()

    uvloop.run(run())
    assert received.startswith(b"PRI * HTTP/2.0")
    assert b"message" not in received


# --- Deadlines, cancellation, and servers that hang


@pytest.mark.parametrize("how", ["late", "canceled"])
def test_a_call_that_ends_early_resets_its_stream_only(how: str) -> None:
    """Its late response reaches no other call."""
    server, held = H2Server(), list[Request]()

    async def hold(request: Request) -> None:
        if request.message == b"slow":
            held.append(request)
            server.changed.set()
        else:
            request.reply()

    server.answer = hold

    async def scenario(channel: Channel, head: RequestHead) -> None:
        call = asyncio.create_task(channel.call(head, b"slow", 0.3 if how == "late" else 20))
        await server.until(lambda: bool(held))
        if how == "canceled":
            call.cancel()
        await asyncio.wait([call])
        assert how == "canceled" if call.cancelled() else isinstance(call.exception(), TimeoutError)
        await server.until(lambda: server.resets == [CANCEL])
        assert b"next" == (await channel.call(head, b"next", 5)).message

    play(server, scenario)
    assert 1 == len(server.peers)


def test_a_call_that_waits_for_a_stream_is_late_too() -> None:
    """It is never sent."""
    server = H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})

    async def scenario(channel: Channel, head: RequestHead) -> None:
        with pytest.raises(TimeoutError):
            await channel.call(head, b"a", 0.1)
        assert not channel._waiting

    play(server, scenario)
    assert [] == server.requests


def test_a_server_that_answers_no_ping_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a late call the client sends a PING; without an answer it opens a new connection."""
    monkeypatch.setattr(connection_module, "PING_SECONDS_MAX", 0.1)
    server = H2Server()

    async def hang(request: Request) -> None:
        if len(server.peers) == 1:
            request.peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # of asyncio's transport
        else:
            request.reply()

    server.answer = hang

    async def scenario(channel: Channel, head: RequestHead) -> None:
        patient = asyncio.create_task(channel.call(head, b"a", 20))
        with pytest.raises(TimeoutError):
            await channel.call(head, b"b", 0.1)
        with pytest.raises(BrokenOff, match="no PING"):
            await patient
        assert b"c" == (await channel.call(head, b"c", 5)).message

    play(server, scenario)
    assert 2 == len(server.peers)


def test_a_server_that_answers_pings_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow call costs at most one PING in ten seconds: daprd allows one in eight."""
    monkeypatch.setattr(connection_module, "PING_SECONDS_MAX", 0.1)
    server, held = H2Server(), list[Request]()

    async def hold(request: Request) -> None:
        held.append(request)

    server.answer = hold

    async def scenario(channel: Channel, head: RequestHead) -> None:
        patient = asyncio.create_task(channel.call(head, b"a", 20))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await channel.call(head, b"b", 0.1)
        next(request for request in held if request.message == b"a").reply()
        assert b"a" == (await patient).message

    play(server, scenario)
    assert 1 == len(server.peers)


def test_calls_wait_while_the_server_does_not_read() -> None:
    """The client buffers a bounded number of bytes; the calls behind it end at their deadlines."""
    server = H2Server(reads=False)

    async def scenario(channel: Channel, head: RequestHead) -> None:
        big = [asyncio.create_task(channel.call(head, b"x" * 60_000, 1.0)) for _ in range(300)]
        assert {TimeoutError} == {type(each) for each in await asyncio.gather(*big, return_exceptions=True)}

    play(server, scenario)
    assert [] == server.requests


def test_a_closed_channel_ends_its_calls() -> None:
    """The server gets a GOAWAY; the calls' outcomes are unknown, and later calls are not sent."""
    server = H2Server()

    async def hold(request: Request) -> None:
        server.changed.set()

    server.answer = hold

    async def scenario(channel: Channel, head: RequestHead) -> None:
        call = asyncio.create_task(channel.call(head, b"a", 20))
        await server.until(lambda: bool(server.requests))
        channel.close()
        with pytest.raises(BrokenOff):
            await call
        with pytest.raises(NotConnected):
            await channel.call(head, b"b", 5)
        await server.until(lambda: server.goaways == [0])

    play(server, scenario)
    assert 1 == len(server.requests)


def test_too_many_waiting_calls_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of calls has a limit."""
    monkeypatch.setattr(channel_module, "WAITING_MAX", 2)
    server = H2Server(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 0})

    async def scenario(channel: Channel, head: RequestHead) -> None:
        calls = [asyncio.create_task(channel.call(head, b"", 0.2)) for _ in range(3)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [TimeoutError, TimeoutError, NotConnected] == [type(result) for result in results]

    play(server, scenario)


def test_stream_numbers_are_never_used_twice() -> None:
    """After the last number the next call opens another connection."""
    server = H2Server()

    async def scenario(channel: Channel, head: RequestHead) -> None:
        await channel.call(head, b"a", 5)
        assert channel._connection is not None
        channel._connection.streams._next_id = 2**31 - 1
        assert b"b" == (await channel.call(head, b"b", 5)).message
        assert b"c" == (await channel.call(head, b"c", 5)).message

    play(server, scenario)
    assert [1, 2**31 - 1, 1] == [request.stream_id for request in server.requests]
    assert 2 == len(server.peers)
