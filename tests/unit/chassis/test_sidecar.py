"""The sidecar client, against a fake daprd, over both of its APIs."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import msgspec
import pytest
from aiohttp import web

from sidecart.chassis import http_api as module
from sidecart.chassis import store_health
from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import Conflict, SidecarTimeout, SidecarUnavailable, SidecarUnreachable, WriteRefused
from sidecart.chassis.http2 import streams
from sidecart.chassis.server.serve import background
from sidecart.chassis.sidecar import Sidecar, connect
from tests.unit.chassis.daprd import Daprd, daprd, until

KEY = "email:a/b?c%|d@x.y"
PATH = "/v1.0/state/statestore/email%3Aa%2Fb%3Fc%25%7Cd%40x.y"
CALLS: dict[str, Callable[[Sidecar], Awaitable[object]]] = {
    "load": lambda sidecar: sidecar.load("k"),
    "load_many": lambda sidecar: sidecar.load_many(["k"]),
    "save": lambda sidecar: sidecar.save("k", b"1", None),
    "insert": lambda sidecar: sidecar.insert("k", b"1"),
    "publish": lambda sidecar: sidecar.publish("Lamp", b"{}"),
    "invoke": lambda sidecar: sidecar.invoke("lamps", "/lamp/1", 5),
}
REFUSES = "the store refuses writes: ERROR: read-only (SQLSTATE 25006)"
APIS = ["http", "grpc"]
CHOSEN = {"api": "http"}
STATE_CALLS = ["load", "load_many", "save", "insert"]


def play(scenario: Callable[[Daprd, Sidecar], Awaitable[None]], token: str = "out-token") -> None:
    """Run one scenario against one fake daprd."""

    async def run() -> None:
        async with daprd() as fake, client(fake.port, fake.grpc_port, token) as sidecar:
            await scenario(fake, sidecar)

    asyncio.run(run())


@pytest.fixture(params=APIS, autouse=True)
def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test over both APIs of the sidecar."""
    monkeypatch.setitem(CHOSEN, "api", request.param)


def client(port: int, grpc_port: int, token: str = "out-token") -> AbstractAsyncContextManager[Sidecar]:
    """Return a client of the API of this test."""
    return connect(port, token, dapr_grpc_port=grpc_port if CHOSEN["api"] == "grpc" else None)


def free_port() -> int:
    """Return a port on which no process listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_a_missing_record_is_none() -> None:
    """A 204 means a missing record, not a failure."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        assert (None, None) == await sidecar.load("k")
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_a_record_comes_with_the_etag_that_saves_it_again() -> None:
    """A load returns the exact value, and an ETag for the next save."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save("k", b'{"n": 1}', None)
        value, etag = await sidecar.load("k")
        await sidecar.save("k", b'{"n": 2}', etag)

        assert (b'{"n": 1}', "1") == (value, etag)
        assert (b'{"n": 2}', "2") == await sidecar.load("k")

    play(scenario)


@pytest.mark.parametrize("status", [400, 409, 500])
@pytest.mark.parametrize("etag", [None, "7"])
def test_a_save_over_another_processs_record_is_a_conflict(status: int, etag: str | None) -> None:
    """A lost race is a conflict with any status of the store, and leaves the record unchanged."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.conflict_status = status
        await sidecar.save("k", b"1", None)

        with pytest.raises(Conflict):
            await sidecar.save("k", b"2", etag)
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_a_save_is_always_first_write() -> None:
    """Every save is first-write, so that no insert overwrites a record."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save("k", b"1", None)
        await sidecar.save("k", b"2", "1")

        options = {"concurrency": "first-write"}
        assert [
            [{"key": "k", "value": 1, "options": options}],
            [{"key": "k", "value": 2, "options": options, "etag": "1"}],
        ] == [msgspec.json.decode(call.body) for call in fake.calls]

    play(scenario)


@pytest.mark.parametrize("status", [409, 500])
def test_an_insert_over_a_record_returns_false(status: int) -> None:
    """The second insert of a key returns False and leaves the record unchanged."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.conflict_status = status

        assert (True, False) == (await sidecar.insert("k", b"1"), await sidecar.insert("k", b"2"))
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_an_insert_without_a_store_is_a_transient_error() -> None:
    """An insert is a transient error if the store answers neither the write nor the read."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=500), web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.insert("k", b"1")
        assert sidecar.store.is_unreachable

    play(scenario)


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize("call", ["save", "insert"])
def test_a_refused_write_is_no_lost_race(call: str, status: int) -> None:
    """If the record is unchanged and the probe is refused too, the store's reason is recorded."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.refuses_writes = status

        with pytest.raises(WriteRefused, match="25006"):
            await CALLS[call](sidecar)
        assert REFUSES == sidecar.store.problem
        assert ["save k", "load k", "save health-probe", "load health-probe"] == fake.state_calls()

    play(scenario)


def test_a_refused_change_of_a_record_is_no_lost_race() -> None:
    """Redis reports a refused write as an ETag mismatch, but the record still has that ETag."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save("k", b"1", None)
        fake.refuses_writes = 409

        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"2", "1")
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_a_race_that_was_lost_just_before_the_store_refuses_is_a_conflict() -> None:
    """A changed record is a conflict, even if the store refuses writes as well."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save("k", b"1", None)
        fake.refuses_writes = 500

        with pytest.raises(Conflict):
            await sidecar.save("k", b"2", "7")
        assert "" == sidecar.store.write_refusal

    play(scenario)


def test_while_the_store_refuses_no_write_is_sent_but_the_probes() -> None:
    """While the store refuses writes, only the probe writes, and no read ends this state."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.refuses_writes = 500
        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"1", None)
        fake.calls.clear()

        for _ in range(100):
            with pytest.raises(WriteRefused):
                await sidecar.save("k", b"1", None)
        assert [] == fake.calls
        assert (None, None) == await sidecar.load("k")
        assert not sidecar.store.is_healthy
        assert not await sidecar.store_probe.answers()
        fake.refuses_writes = 0
        assert await sidecar.store_probe.answers()
        assert "" == sidecar.store.problem
        await sidecar.save("k", b"1", None)

    play(scenario)


def test_writes_that_are_refused_together_share_one_probe() -> None:
    """A hundred writes that are refused at the same time cause one probe."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.refuses_writes = 500
        results = await asyncio.gather(
            *(sidecar.save(f"k{number}", b"1", None) for number in range(100)), return_exceptions=True
        )

        assert {WriteRefused} == {type(result) for result in results}
        assert 1 == fake.state_calls().count("save health-probe")

    play(scenario)


def test_a_write_is_retried_once_if_the_probe_succeeds() -> None:
    """A failed write is retried once if the probe succeeds."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=500)]

        await sidecar.save("k", b"1", None)
        assert (b"1", "1") == await sidecar.load("k")
        assert "" == sidecar.store.problem

    play(scenario)


def test_a_write_that_is_always_refused_affects_no_other_write() -> None:
    """A record that is refused twice while the probe succeeds leaves the store healthy."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.refuses_keys = {"k"}

        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"1", None)
        assert 2 == fake.state_calls().count("save k")
        assert sidecar.store.is_healthy
        await sidecar.save("other", b"1", None)

    play(scenario)


def test_after_a_write_without_a_response_only_a_write_proves_recovery() -> None:
    """A store may answer reads while its writes hang."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.hangs_up = True
        with pytest.raises(SidecarUnavailable):
            await sidecar.save("k", b"1", None)
        fake.hangs_up = False

        await sidecar.load("k")
        assert sidecar.store.is_unreachable
        await sidecar.save("other", b"1", None)
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_the_store_is_probed_once_at_startup_while_it_is_healthy() -> None:
    """The first probe proves that writes work; a healthy store is not probed again."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        assert "no write to the store worked yet" == sidecar.store.problem
        async with background(sidecar.store_probe.watch()):
            await until(lambda: sidecar.store.problem == "")
            await sidecar.save("k", b"1", None)
            await asyncio.sleep(0.01)
        assert ["save health-probe", "load health-probe", "save k"] == fake.state_calls()

    play(scenario)


def test_a_store_that_refuses_writes_is_probed_until_one_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe detects the recovery without a caller or an event."""
    monkeypatch.setattr(store_health, "REFUSED_SECONDS", 0.001)

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        async with background(sidecar.store_probe.watch()):
            await until(lambda: sidecar.store.problem == "")
            fake.refuses_writes = 500
            with pytest.raises(WriteRefused):
                await sidecar.save("k", b"1", None)
            await until(lambda: fake.state_calls().count("save health-probe") > 4)
            assert REFUSES == sidecar.store.problem
            fake.refuses_writes = 0
            await until(lambda: sidecar.store.problem == "")

    play(scenario)


def test_many_records_come_in_the_order_of_their_keys() -> None:
    """A bulk load has None for a missing key, and repeats the value of a repeated key."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save("a", b"1", None)
        await sidecar.save("b", b"2", None)

        assert [b"2", None, b"1", b"2"] == await sidecar.load_many(["b", "c", "a", "b"])
        assert ["b", "c", "a"] == msgspec.json.decode(fake.calls[-1].body)["keys"]

    play(scenario)


def test_no_keys_cost_no_call() -> None:
    """A bulk load without keys makes no call."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        assert [] == await sidecar.load_many([])
        assert [] == fake.calls

    play(scenario)


def test_one_record_that_could_not_be_read_is_not_taken_for_missing() -> None:
    """A bulk load with an error entry in its 200 response raises SidecarUnavailable."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.json_response([{"key": "a", "data": 1}, {"key": "b", "error": "timeout"}])]

        with pytest.raises(SidecarUnavailable, match="timeout"):
            await sidecar.load_many(["a", "b"])
        assert sidecar.store.is_unreachable

    play(scenario)


def test_an_event_is_published_whole_and_unchanged() -> None:
    """An event is published byte for byte, as a CloudEvent, so that its extensions survive."""
    event = '{ "id":"1",  "name":"Zoë \\u00e9" }'.encode()

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.publish("Lamp", event)

        call = fake.calls[0]
        assert ("POST", "/v1.0/publish/pubsub/Lamp") == (call.method, call.path)
        assert ("application/cloudevents+json", event) == (call.content_type, call.body)

    play(scenario)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_refused_publish_is_a_transient_error(status: int) -> None:
    """A refused publish does not affect the health of the store."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=status)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.publish("Lamp", b"{}")
        assert not sidecar.store.is_unreachable

    play(scenario)


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_invocation_returns_any_status(status: int) -> None:
    """An invocation returns the response with any status."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=status, body=b'{"n": 1}')]

        assert Answer(status, b'{"n": 1}') == await sidecar.invoke("lamps", "/lamp/1", 5)
        assert ("GET", "/v1.0/invoke/lamps/method/lamp/1") == (fake.calls[0].method, fake.calls[0].path)

    play(scenario)


def test_a_key_is_one_escaped_segment_of_the_path() -> None:
    """Slashes, question marks, percent signs and bars in a key are escaped."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save(KEY, b"1", None)

        assert (b"1", "1") == await sidecar.load(KEY)
        assert PATH == fake.calls[-1].path

    play(scenario)


@pytest.mark.parametrize("key", ["email:zoë@x.y", "email:%2Fa", "email:a b+c#d"])
def test_a_key_is_the_same_in_a_save_and_in_a_load(key: str) -> None:
    """A key in the body of a save matches the key in the path of a load."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await sidecar.save(key, b"1", None)

        assert (b"1", "1") == await sidecar.load(key)

    play(scenario)


@pytest.mark.parametrize(("token", "expected"), [("out-token", "out-token"), ("", None)])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_carries_the_sidecars_token(call: str, token: str, expected: str | None) -> None:
    """Every call carries the sidecar's token; an empty token is not sent."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        await CALLS[call](sidecar)

        assert [expected] == [each.token for each in fake.calls]

    play(scenario, token)


@pytest.mark.parametrize("call", CALLS)
def test_a_refused_connection_means_that_nothing_was_sent(call: str) -> None:
    """A refused connection raises SidecarUnreachable, so that the call can be repeated safely."""

    async def scenario() -> None:
        async with client(free_port(), free_port()) as sidecar:
            with pytest.raises(SidecarUnreachable):
                await CALLS[call](sidecar)
            assert (call in STATE_CALLS) == sidecar.store.is_unreachable

    asyncio.run(scenario())


@pytest.mark.parametrize("call", CALLS)
def test_a_lost_response_leaves_the_outcome_unknown(call: str) -> None:
    """A connection that is lost after the request raises SidecarUnavailable itself."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.hangs_up = True

        with pytest.raises(SidecarUnavailable) as failed:
            await CALLS[call](sidecar)
        assert SidecarUnavailable is type(failed.value)
        assert (call in STATE_CALLS) == sidecar.store.is_unreachable

    play(scenario)


def test_a_call_times_out() -> None:
    """A sidecar that does not respond in time raises SidecarTimeout."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.is_silent = True

        with pytest.raises(SidecarUnavailable) as failed:
            await sidecar.invoke("lamps", "/lamp/1", 0.05)
        assert SidecarTimeout is type(failed.value)

    play(scenario)


@pytest.mark.parametrize("call", ["load", "load_many"])
def test_a_failed_load_makes_the_store_unreachable_until_one_succeeds(call: str) -> None:
    """The health of the store follows the results of loads."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await CALLS[call](sidecar)
        assert sidecar.store.is_unreachable
        await CALLS[call](sidecar)
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_a_probe_detects_that_the_store_recovered() -> None:
    """A successful write and read make the store healthy after a failed load."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.answers = [web.Response(status=500), web.Response(status=500), web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.load("k")
        assert (False, True) == (await sidecar.store_probe.answers(), sidecar.store.is_unreachable)
        assert (True, False) == (await sidecar.store_probe.answers(), sidecar.store.is_unreachable)

    play(scenario)


def test_a_store_that_does_not_respond_is_unreachable() -> None:
    """The probe has its own timeout, because /healthz waits for it."""

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.is_silent = True

        assert (False, True) == (await sidecar.store_probe.answers(0.05), sidecar.store.is_unreachable)

    play(scenario)


def test_a_sidecar_that_is_not_up_yet_leaves_the_app_healthy() -> None:
    """An unhealthy app would delay the startup of its sidecar by 1 s."""

    async def scenario() -> None:
        async with client(free_port(), free_port()) as sidecar:
            assert not await sidecar.store_probe.answers()
            assert sidecar.store.is_healthy
            assert "no write to the store worked yet" == sidecar.store.problem

    asyncio.run(scenario())


def test_publishes_that_do_not_return_leave_room_for_other_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that blocks publishing blocks neither state calls nor reads."""
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(module, "PUBLISHES_MAX", 1)
    monkeypatch.setattr(streams, "STREAMS_MAX", 1)

    async def scenario(fake: Daprd, sidecar: Sidecar) -> None:
        fake.is_silent = True
        publishing = asyncio.create_task(sidecar.publish("Lamp", b"{}"))
        await until(lambda: bool(fake.calls))
        await asyncio.sleep(0)
        fake.is_silent = False

        async with asyncio.timeout(5):
            assert (None, None) == await sidecar.load("k")
        publishing.cancel()

    play(scenario)
