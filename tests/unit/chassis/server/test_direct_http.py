"""Deliveries that bypass ASGI: what they keep, and which requests do not bypass it."""

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.server import protocol
from sidecart.chassis.server.deliveries import Headers
from sidecart.chassis.server.direct_http import BODY_BYTES_MAX, Delivery, DirectDeliveries, DirectHttp
from sidecart.chassis.server.inbound import SidecarAuth
from sidecart.chassis.telemetry import request_context
from tests.unit.chassis.server.direct_app import PATH, TOKEN, Lamps, delivery, in_chunks, serving
from tests.unit.edge.fakes import until

SECONDS_MAX = 60
LAST = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("is_direct", [True, False], ids=["direct", "by ASGI"])
TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def play(scenario: Callable[[Lamps], Awaitable[None]], *, is_direct: bool = True) -> None:
    """Run one scenario."""

    async def run() -> None:
        async with asyncio.timeout(SECONDS_MAX), serving(is_direct=is_direct) as lamps:
            await scenario(lamps)

    asyncio.run(run())


def statuses(received: bytes) -> list[int]:
    """Return the statuses of these responses."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+)", received)]


def test_a_delivery_bypasses_asgi() -> None:
    """The handler gets the bytes, and the response is empty and has a date."""

    async def scenario(lamps: Lamps) -> None:
        received = await lamps.ask(delivery(b"\xff on"), LAST)

        assert ([b"\xff on"], ["GET /healthz"]) == (lamps.handled, lamps.by_asgi)
        date, response = rb"date: \w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", received.partition(b"\r\n\r\n")[0]
        assert re.fullmatch(rb"HTTP/1\.1 200 OK\r\n" + date + rb"\r\ncontent-length: 0", response)
        assert [200, 200] == statuses(received)

    play(scenario)


@BOTH
def test_both_ways_give_the_same_responses(is_direct: bool) -> None:
    """A server without the direct way sends the same bytes."""

    async def scenario(lamps: Lamps) -> None:
        async def work(body: bytes) -> None:
            if body != b"ok":
                raise TransientError("unreachable")

        lamps.work = work
        received = await lamps.ask(delivery(b"ok") + delivery(b"no"), LAST)
        date = rb"date: [^\r]*\r\n"

        expected = rb"HTTP/1\.1 200 OK\r\n%bcontent-length: 0\r\n\r\nHTTP/1\.1 500 Internal Server Error\r\n"
        assert re.match(expected % date + rb"%bcontent-length: 0\r\n\r\nHTTP/1\.1 200 OK\r\n" % date, received)

    play(scenario, is_direct=is_direct)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(PermanentError("bad"), 200), (TransientError("unreachable"), 500), (KeyError("a bug"), 500)],
    ids=str,
)
def test_an_error_of_the_handler_is_answered_as_through_asgi(error: Exception, expected: int) -> None:
    """A permanent error is answered 200; a transient error or a bug is answered 500."""

    async def scenario(lamps: Lamps) -> None:
        async def work(_body: bytes) -> None:
            raise error

        lamps.work = work
        assert [expected, 200] == statuses(await lamps.ask(delivery(b"x"), LAST))
        assert ["GET /healthz"] == lamps.by_asgi

    play(scenario)


WRONG = [
    b"",
    b"dapr-api-token: \r\n",
    b"dapr-api-token: wrong\r\n",
    b"dapr-api-token: in-token2\r\n",
    b"dapr-api-token: in-tok\xe9n\r\n",
    TOKEN + TOKEN,
    TOKEN + b"dapr-api-token: wrong\r\n",
    b"dapr-api-token: wrong\r\n" + TOKEN,
    b"authorization: in-token\r\n",
]


@pytest.mark.parametrize("headers", WRONG, ids=repr)
@pytest.mark.parametrize("send", [delivery, in_chunks], ids=["direct", "by ASGI"])
def test_a_delivery_needs_the_token(send: Callable[[bytes, bytes], bytes], headers: bytes) -> None:
    """Without exactly the token the answer is 403, and no handler runs; the connection stays."""

    async def scenario(lamps: Lamps) -> None:
        received = await lamps.ask(send(b"forged", headers), delivery(b"on"), LAST)

        assert ([403, 200, 200], [b"on"]) == (statuses(received), lamps.handled)

    play(scenario)


def test_one_check_of_the_token_holds_for_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of `SidecarAuth` both ways are open, so no other check hides its loss."""
    monkeypatch.setattr(SidecarAuth, "_is_protected", lambda _self, _path: False)

    async def scenario(lamps: Lamps) -> None:
        received = await lamps.ask(delivery(b"a", b""), in_chunks(b"b", b""), LAST)

        assert ([200, 200, 200], [b"a", b"b"]) == (statuses(received), lamps.handled)
        assert [f"POST {PATH.decode()}", "GET /healthz"] == lamps.by_asgi

    play(scenario)


def test_a_delivery_without_the_token_is_refused_before_its_body() -> None:
    """A body too long to be drained is not awaited."""

    async def scenario(lamps: Lamps) -> None:
        head = b"POST " + PATH + b" HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(head)

        assert b"HTTP/1.1 403 Forbidden\r\n" == await reader.readuntil(b"\r\n")
        writer.close()

    play(scenario)


OTHERS = {
    "chunks": in_chunks(b"x"),
    "a long body": delivery(b"x" * (BODY_BYTES_MAX + 1)),
    "an encoded path": delivery(b"x", target=b"/events/inbox/L%61mp"),
    "a query": delivery(b"x", target=PATH + b"?a=b"),
    "no subscription": delivery(b"x", target=b"/events/inbox/Bulb"),
    "another method": delivery(b"").replace(b"POST", b"GET", 1),
    "no length": delivery(b"").replace(b"Content-Length: 0\r\n", b""),
    "another route": delivery(b"", target=b"/healthz"),
}


@pytest.mark.parametrize("sent", OTHERS.values(), ids=OTHERS.keys())
def test_every_other_request_goes_through_asgi(sent: bytes) -> None:
    """It gets the answer that it gets from a server without the direct way."""

    async def scenario(lamps: Lamps) -> None:
        received = await lamps.ask(sent, LAST)
        found.append((statuses(received), lamps.by_asgi, lamps.handled))

    found: list[Any] = []
    play(scenario)
    play(scenario, is_direct=False)
    assert found[0] == found[1]
    assert 2 == len(found[0][1])


@pytest.mark.parametrize("size", [0, 1, BODY_BYTES_MAX], ids=str)
def test_a_body_up_to_the_limit_bypasses_asgi(size: int) -> None:
    """The limit is that of the bytes which the server reads without a pause."""

    async def scenario(lamps: Lamps) -> None:
        assert [200, 200] == statuses(await lamps.ask(delivery(b"x" * size), LAST))
        assert (["GET /healthz"], [size]) == (lamps.by_asgi, [len(each) for each in lamps.handled])

    play(scenario)


def test_100_continue_is_sent_before_the_body() -> None:
    """A delivery that expects it goes through ASGI, and ends its connection."""

    async def scenario(lamps: Lamps) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(delivery(b"on", TOKEN + b"expect: 100-continue\r\n")[: -len(b"on")])
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
        writer.write(b"on")

        assert b"connection: close" in (received := await reader.read())
        assert ([200], [b"on"]) == (statuses(received), lamps.handled)
        writer.close()

    play(scenario)


@pytest.mark.parametrize(
    "sent",
    [
        delivery(b"on", TOKEN + b"connection: close\r\n"),
        delivery(b"on").replace(b"HTTP/1.1", b"HTTP/1.0"),
        delivery(b"on", TOKEN + b"connection: keep-alive\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    ],
    ids=["close", "HTTP/1.0", "HTTP/1.0 with keep-alive"],
)
def test_a_connection_that_must_end_is_closed(sent: bytes) -> None:
    """The response says that it closes the connection, and a later request is not processed."""

    async def scenario(lamps: Lamps) -> None:
        received = await lamps.ask(sent + delivery(b"never"))

        assert ([200], [b"on"], []) == (statuses(received), lamps.handled, lamps.by_asgi)
        assert 1 == received.count(b"connection: close\r\n")

    play(scenario)


def test_an_offer_to_upgrade_is_ignored() -> None:
    """The body of a delivery with an offer is its body, not the next request."""

    async def scenario(lamps: Lamps) -> None:
        offer = TOKEN + b"connection: upgrade\r\nupgrade: h2c\r\n"
        assert [200, 200] == statuses(await lamps.ask(delivery(LAST, offer) + LAST))
        assert ([LAST], ["GET /healthz"]) == (lamps.handled, lamps.by_asgi)

    play(scenario)


def test_pipelined_requests_are_answered_in_sequence() -> None:
    """A request behind a delivery starts only after the response to that delivery."""

    async def scenario(lamps: Lamps) -> None:
        health = b"GET /none HTTP/1.1\r\nhost: x\r\n" + TOKEN + b"\r\n"
        asked = asyncio.create_task(
            lamps.ask(delivery(b"held") + health + delivery(b"b") + health + delivery(b"c") + LAST)
        )
        await until(lambda: lamps.handled == [b"held"])
        await asyncio.sleep(0.05)  # no event tells that nothing happens
        assert ([b"held"], []) == (lamps.handled, lamps.by_asgi)
        lamps.released.set()

        assert [200, 404, 200, 404, 200, 200] == statuses(await asked)
        assert [b"held", b"b", b"c"] == lamps.handled

    play(scenario)


def test_segments_do_not_change_the_responses() -> None:
    """Deliveries cut at any byte are handled as in one piece."""
    sent = delivery(b"on") + delivery(b"off") + LAST

    async def scenario(lamps: Lamps) -> None:
        for at in range(1, len(sent)):
            lamps.handled.clear()
            assert (at, [200, 200, 200]) == (at, statuses(await lamps.ask(sent[:at], sent[at:])))
            assert [b"on", b"off"] == lamps.handled

    play(scenario)


def test_a_rejection_waits_for_the_response_to_a_delivery() -> None:
    """Bytes that are not HTTP are answered 400 after the delivery before them."""

    async def scenario(lamps: Lamps) -> None:
        asked = asyncio.create_task(lamps.ask(delivery(b"held") + b"garbage\r\n\r\n"))
        await until(lambda: lamps.handled == [b"held"])
        lamps.released.set()

        assert [200, 400] == statuses(await asked)

    play(scenario)


def end_if_late(lamps: Lamps, seconds: float) -> None:
    """Look at each connection as if so many seconds had passed."""
    now = asyncio.get_running_loop().time() + seconds
    for connection in [*lamps.server.server_state.connections]:
        cast(DirectHttp, connection).end_if_late(now)


def test_a_body_that_is_late_is_408_and_never_handled() -> None:
    """A delivery whose body stops is rejected; one in progress has all the time it needs."""

    async def scenario(lamps: Lamps) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(delivery(b"held"))
        await until(lambda: lamps.handled == [b"held"])
        end_if_late(lamps, 3600)
        lamps.released.set()
        assert b"HTTP/1.1 200 OK\r\n" == await reader.readuntil(b"\r\n")
        writer.write(delivery(b"late")[:-1])
        connection = cast(DirectHttp, next(iter(lamps.server.server_state.connections)))
        await until(lambda: connection._delivery is not None)
        end_if_late(lamps, protocol.BODY_SECONDS_MAX + 1)

        assert [408] == statuses(await reader.read())
        assert [b"held"] == lamps.handled
        writer.close()

    play(scenario)


def test_an_idle_connection_is_closed_after_the_time_to_keep_it() -> None:
    """The time starts anew with each response to a delivery."""

    async def scenario(lamps: Lamps) -> None:
        lamps.config.timeout_keep_alive = cast(int, 0.05)
        assert [200] == statuses(await lamps.ask(delivery(b"on")))

    play(scenario)


@BOTH
def test_a_caller_that_leaves_does_not_stop_its_delivery(is_direct: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The handler ends its work, and the response is dropped without an error."""

    async def scenario(lamps: Lamps) -> None:
        ended = asyncio.Event()

        async def work(_body: bytes) -> None:
            ended.set()

        lamps.work = work
        _, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(delivery(b"held"))
        await until(lambda: lamps.handled == [b"held"])
        writer.close()
        await until(lambda: not lamps.server.server_state.connections)
        lamps.released.set()
        await ended.wait()
        await until(lambda: not lamps.server.server_state.tasks)

    play(scenario, is_direct=is_direct)
    assert "" == caplog.text


@BOTH
def test_a_caller_that_leaves_in_its_body_delivers_nothing(is_direct: bool) -> None:
    """An incomplete body is no event."""

    async def scenario(lamps: Lamps) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(delivery(b"half")[:-2])
        await until(lambda: len(lamps.server.server_state.connections) == 1)
        writer.close()
        await until(lambda: not lamps.server.server_state.connections)
        await until(lambda: not lamps.server.server_state.tasks)
        assert [] == lamps.handled

    play(scenario, is_direct=is_direct)


@BOTH
def test_a_half_closed_connection_is_handled_and_closed(is_direct: bool) -> None:
    """The server closes a connection whose caller sends no more, and finishes its delivery."""

    async def scenario(lamps: Lamps) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        writer.write(delivery(b"held"))
        await until(lambda: lamps.handled == [b"held"])
        writer.write_eof()
        assert b"" == await reader.read()
        lamps.released.set()
        await until(lambda: not lamps.server.server_state.tasks)
        writer.close()

    play(scenario, is_direct=is_direct)


@BOTH
def test_a_delivery_in_progress_at_the_stop_is_answered(is_direct: bool) -> None:
    """The server stops after the response, which closes its connection; an idle one is closed."""

    async def scenario(lamps: Lamps) -> None:
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", lamps.port)
        idle_writer.write(delivery(b"on"))
        await idle.readuntil(b"\r\n\r\n")
        asked = asyncio.create_task(lamps.ask(delivery(b"held")))
        await until(lambda: lamps.handled == [b"on", b"held"])
        lamps.server.should_exit = True
        lamps.server._exiting.set()
        assert b"" == await idle.read()
        with pytest.raises(OSError, match="Connect"):
            await lamps.ask(delivery(b"new"))
        assert not asked.done()
        lamps.released.set()

        received = await asked
        assert ([200], 1) == (statuses(received), received.count(b"connection: close"))
        assert [b"on", b"held"] == lamps.handled
        idle_writer.close()

    play(scenario, is_direct=is_direct)


@BOTH
def test_a_delivery_that_outlasts_the_stop_is_redelivered(is_direct: bool) -> None:
    """The server cancels it after a time, and answers 500."""

    async def scenario(lamps: Lamps) -> None:
        lamps.config.timeout_graceful_shutdown = cast(int, 0.05)
        asked = asyncio.create_task(lamps.ask(delivery(b"held")))
        await until(lambda: lamps.handled == [b"held"])
        lamps.server.should_exit = True
        lamps.server._exiting.set()

        assert [500] == statuses(await asked)

    play(scenario, is_direct=is_direct)


def test_a_delivery_while_draining_closes_its_connection() -> None:
    """It is answered, and its response says once that the connection ends."""

    async def scenario(lamps: Lamps) -> None:
        lamps.server._drain_seconds = SECONDS_MAX
        lamps.server._start_draining(signal.SIGTERM)
        received = await lamps.ask(delivery(b"on"))

        assert ([200], 1) == (statuses(received), received.count(b"connection: close"))

    play(scenario)


def test_each_delivery_has_its_own_context() -> None:
    """The handler sees the topic and the trace of its delivery, also beside another one."""
    seen: dict[bytes, tuple[str, str]] = {}
    contexts = []

    async def scenario(lamps: Lamps) -> None:
        async def work(body: bytes) -> None:
            context = request_context.current()
            assert context is not None
            contexts.append(context)
            seen[body] = context.topic, context.traceparent

        lamps.work = work
        first = asyncio.create_task(lamps.ask(delivery(b"held", TOKEN + b"traceparent: " + TRACE + b"\r\n"), LAST))
        await until(lambda: lamps.handled == [b"held"])
        await lamps.ask(delivery(b"on"), LAST)
        lamps.released.set()
        await first
        assert [((), b"")] * 2 == [(each.headers, each.body) for each in contexts]

    play(scenario)
    assert {b"held": ("Lamp", TRACE.decode()), b"on": ("Lamp", "")} == seen


class Socket:
    """A connection whose caller does not read, as far as `Delivery` uses it."""

    def __init__(self, *, is_paused: bool) -> None:
        transport = cast(asyncio.Transport, self)
        self.flow = FlowControl(transport)
        if is_paused:
            self.flow.pause_writing()
        self.written = b""
        self.transport = self
        self.server_state = SimpleNamespace(default_headers=[(b"date", b"now")])
        self.completed = 0

    def write(self, data: bytes) -> None:
        """Keep the bytes."""
        self.written += data

    def on_response_complete(self) -> None:
        """Count the response."""
        self.completed += 1


class Failing:
    """Deliveries whose processing fails outside of the handler."""

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def process(self, _path: str, _headers: Headers, _body: bytes) -> int:
        """Return 200, or raise."""
        if self._error is not None:
            raise self._error
        return 200


def answering(socket: Socket, error: Exception | None = None) -> Awaitable[None]:
    """Answer one delivery on this connection."""
    made = Delivery(cast(DirectHttp, socket), "/events/inbox/Lamp", [], keep_alive=True)
    return made.answer(cast(DirectDeliveries, Failing(error)))


def test_a_response_waits_until_the_caller_reads() -> None:
    """Otherwise a caller that never reads would fill the memory with responses."""

    async def scenario() -> None:
        socket = Socket(is_paused=True)
        task = asyncio.ensure_future(answering(socket))
        for _ in range(5):
            await asyncio.sleep(0)
        assert (b"", 0) == (socket.written, socket.completed)
        socket.flow.resume_writing()
        await task
        assert (b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 0\r\n\r\n", 1) == (socket.written, socket.completed)

    asyncio.run(scenario())


def test_a_failure_outside_of_the_handler_is_answered_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The sidecar must get an answer to every delivery."""
    socket = Socket(is_paused=False)

    async def scenario() -> None:
        await answering(socket, ValueError("no metrics"))

    asyncio.run(scenario())
    assert [500] == statuses(socket.written)
    assert "no metrics" in caplog.text


def test_nothing_is_written_to_a_connection_that_has_ended() -> None:
    """uvloop raises an error for such a write."""
    socket = Socket(is_paused=False)
    made = Delivery(cast(DirectHttp, socket), "/events/inbox/Lamp", [], keep_alive=True)
    made.disconnected = True

    asyncio.run(made.answer(cast(DirectDeliveries, Failing(None))))
    assert (b"", 0) == (socket.written, socket.completed)
