"""The sidecar's HTTP API, against a server that answers as daprd does."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from chassis import sidecar as module
from chassis.connections import Answer
from chassis.errors import Conflict, SidecarTimeout, SidecarUnavailable, SidecarUnreachable, WriteRefused
from chassis.serve import background
from chassis.sidecar import HttpSidecar, connect
from tests.unit.chassis.daprd import Daprd, daprd, until

KEY = "email:a/b?c%|d@x.y"
PATH = "/v1.0/state/statestore/email%3Aa%2Fb%3Fc%25%7Cd%40x.y"
CALLS: dict[str, Callable[[HttpSidecar], Awaitable[object]]] = {
    "load": lambda sidecar: sidecar.load("k"),
    "load_many": lambda sidecar: sidecar.load_many(["k"]),
    "save": lambda sidecar: sidecar.save("k", b"1", None),
    "insert": lambda sidecar: sidecar.insert("k", b"1"),
    "publish": lambda sidecar: sidecar.publish("Lamp", b"{}"),
    "invoke": lambda sidecar: sidecar.invoke("lamps", "/lamp/1", 5),
}
REFUSES = "the store refuses writes: ERROR: read-only (SQLSTATE 25006)"
STATE_CALLS = ["load", "load_many", "save", "insert"]


def play(scenario: Callable[[Daprd, HttpSidecar], Awaitable[None]], token: str = "out-token") -> None:
    """Run one scenario against one played sidecar."""

    async def run() -> None:
        async with daprd() as played, connect(played.port, token) as sidecar:
            await scenario(played, sidecar)

    asyncio.run(run())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_what_is_not_there_is_none() -> None:
    """A 204 is an answer, not a failure."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        assert (None, None) == await sidecar.load("k")
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_a_record_comes_with_the_etag_that_saves_it_again() -> None:
    """The value is kept byte by byte."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save("k", b'{"n": 1}', None)
        value, etag = await sidecar.load("k")
        await sidecar.save("k", b'{"n": 2}', etag)

        assert (b'{"n": 1}', "1") == (value, etag)
        assert (b'{"n": 2}', "2") == await sidecar.load("k")

    play(scenario)


@pytest.mark.parametrize("status", [400, 409, 500])
@pytest.mark.parametrize("etag", [None, "7"])
def test_a_save_over_somebody_elses_is_a_conflict(status: int, etag: str | None) -> None:
    """Stores name it in many ways; the record stays theirs."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.conflict_status = status
        await sidecar.save("k", b"1", None)

        with pytest.raises(Conflict):
            await sidecar.save("k", b"2", etag)
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_a_save_is_always_first_write() -> None:
    """Without it an insert can overwrite a record; an ETag is sent only where there is one."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save("k", b"1", None)
        await sidecar.save("k", b"2", "1")

        options = {"concurrency": "first-write"}
        assert [
            [{"key": "k", "value": 1, "options": options}],
            [{"key": "k", "value": 2, "options": options, "etag": "1"}],
        ] == [msgspec.json.decode(call.body) for call in played.calls]

    play(scenario)


@pytest.mark.parametrize("status", [409, 500])
def test_an_insert_over_a_record_says_so_and_leaves_it(status: int) -> None:
    """Whoever came first stays."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.conflict_status = status

        assert (True, False) == (await sidecar.insert("k", b"1"), await sidecar.insert("k", b"2"))
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_an_insert_that_fails_and_cannot_be_looked_for_is_a_transient_error() -> None:
    """The store is unreachable."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=500), web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.insert("k", b"1")
        assert sidecar.store.is_unreachable

    play(scenario)


@pytest.mark.parametrize("status", [409, 500])
@pytest.mark.parametrize("call", ["save", "insert"])
def test_a_refused_write_is_no_lost_race(call: str, status: int) -> None:
    """The record is what it was, and the probe is refused too: the store's reason is known from now on."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.refuses_writes = status

        with pytest.raises(WriteRefused, match="25006"):
            await CALLS[call](sidecar)
        assert REFUSES == sidecar.store.problem
        assert ["save k", "load k", "save health-probe", "load health-probe"] == played.state_calls()

    play(scenario)


def test_a_refused_change_of_a_record_is_no_lost_race() -> None:
    """With an ETag Redis calls a refusal a mismatch; the record still has that ETag."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save("k", b"1", None)
        played.refuses_writes = 409

        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"2", "1")
        assert (b"1", "1") == await sidecar.load("k")

    play(scenario)


def test_a_race_that_was_lost_just_before_the_store_refuses_is_a_conflict() -> None:
    """What is there is not what the save was made for: decide again, and be refused then."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save("k", b"1", None)
        played.refuses_writes = 500

        with pytest.raises(Conflict):
            await sidecar.save("k", b"2", "7")
        assert "" == sidecar.store.write_refusal

    play(scenario)


def test_while_the_store_refuses_no_write_is_sent_but_the_probes() -> None:
    """And no read turns that: only a write that works."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.refuses_writes = 500
        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"1", None)
        played.calls.clear()

        for _ in range(100):
            with pytest.raises(WriteRefused):
                await sidecar.save("k", b"1", None)
        assert [] == played.calls
        assert (None, None) == await sidecar.load("k")
        assert not sidecar.store.is_healthy
        assert not await sidecar.store_answers()
        played.refuses_writes = 0
        assert await sidecar.store_answers()
        assert "" == sidecar.store.problem
        await sidecar.save("k", b"1", None)

    play(scenario)


def test_writes_that_are_refused_together_share_one_probe() -> None:
    """A hundred events in flight do not ask a hundred times."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.refuses_writes = 500
        results = await asyncio.gather(
            *(sidecar.save(f"k{number}", b"1", None) for number in range(100)), return_exceptions=True
        )

        assert {WriteRefused} == {type(result) for result in results}
        assert 1 == played.state_calls().count("save health-probe")

    play(scenario)


def test_a_write_that_fails_by_chance_is_made_once_more() -> None:
    """A connection of the store may have broken; the probe works, and so does the second try."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=500)]

        await sidecar.save("k", b"1", None)
        assert (b"1", "1") == await sidecar.load("k")
        assert "" == sidecar.store.problem

    play(scenario)


def test_a_write_that_the_store_never_takes_stops_no_other() -> None:
    """One record is refused twice, the probe is not: the event of that record comes again, the store is healthy."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.refuses_keys = {"k"}

        with pytest.raises(WriteRefused):
            await sidecar.save("k", b"1", None)
        assert 2 == played.state_calls().count("save k")
        assert sidecar.store.is_healthy
        await sidecar.save("other", b"1", None)

    play(scenario)


def test_after_a_write_without_an_answer_only_a_write_says_that_the_store_is_back() -> None:
    """A store may read, and hold up every write."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.hangs_up = True
        with pytest.raises(SidecarUnavailable):
            await sidecar.save("k", b"1", None)
        played.hangs_up = False

        await sidecar.load("k")
        assert sidecar.store.is_unreachable
        await sidecar.save("other", b"1", None)
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_the_store_is_written_once_at_the_start_and_not_again_while_it_is_healthy() -> None:
    """Until then the app does not know whether it can do its work."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        assert "no write to the store worked yet" == sidecar.store.problem
        async with background(sidecar.watch_store()):
            await until(lambda: sidecar.store.problem == "")
            await sidecar.save("k", b"1", None)
            await asyncio.sleep(0.01)
        assert ["save health-probe", "load health-probe", "save k"] == played.state_calls()

    play(scenario)


def test_a_store_that_refuses_is_asked_by_a_write_until_it_takes_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No caller and no event has to try it."""
    monkeypatch.setattr(module, "REFUSED_SECONDS", 0.001)

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        async with background(sidecar.watch_store()):
            await until(lambda: sidecar.store.problem == "")
            played.refuses_writes = 500
            with pytest.raises(WriteRefused):
                await sidecar.save("k", b"1", None)
            await until(lambda: played.state_calls().count("save health-probe") > 4)
            assert REFUSES == sidecar.store.problem
            played.refuses_writes = 0
            await until(lambda: sidecar.store.problem == "")

    play(scenario)


def test_many_records_come_in_the_order_of_their_keys() -> None:
    """With None for what is missing, and twice for what was asked for twice."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save("a", b"1", None)
        await sidecar.save("b", b"2", None)

        assert [b"2", None, b"1", b"2"] == await sidecar.load_many(["b", "c", "a", "b"])
        assert ["b", "c", "a"] == msgspec.json.decode(played.calls[-1].body)["keys"]

    play(scenario)


def test_no_keys_cost_no_call() -> None:
    """An empty mailbox asks the store nothing."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        assert [] == await sidecar.load_many([])
        assert [] == played.calls

    play(scenario)


def test_one_record_that_could_not_be_read_is_not_taken_for_missing() -> None:
    """The sidecar answers 200 with an error beside the key."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.json_response([{"key": "a", "data": 1}, {"key": "b", "error": "timeout"}])]

        with pytest.raises(SidecarUnavailable, match="timeout"):
            await sidecar.load_many(["a", "b"])
        assert sidecar.store.is_unreachable

    play(scenario)


def test_an_event_is_published_whole_and_unchanged() -> None:
    """As a CloudEvent, so that its extensions survive; the bytes are the outbox's."""
    event = '{ "id":"1",  "name":"Zoë \\u00e9" }'.encode()

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.publish("Lamp", event)

        call = played.calls[0]
        assert ("POST", "/v1.0/publish/pubsub/Lamp") == (call.method, call.path)
        assert ("application/cloudevents+json", event) == (call.content_type, call.body)

    play(scenario)


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_a_publish_that_was_not_taken_is_a_transient_error(status: int) -> None:
    """It says nothing about the store."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=status)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.publish("Lamp", b"{}")
        assert not sidecar.store.is_unreachable

    play(scenario)


@pytest.mark.parametrize("status", [200, 404, 503])
def test_an_invocations_status_is_the_callers_to_read(status: int) -> None:
    """Whether there is such a thing is an answer, too."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=status, body=b'{"n": 1}')]

        assert Answer(status, b'{"n": 1}') == await sidecar.invoke("lamps", "/lamp/1", 5)
        assert ("GET", "/v1.0/invoke/lamps/method/lamp/1") == (played.calls[0].method, played.calls[0].path)

    play(scenario)


def test_a_key_is_one_part_of_the_path_whatever_it_holds() -> None:
    """Slashes, question marks, percent signs and bars are escaped, and found again."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save(KEY, b"1", None)

        assert (b"1", "1") == await sidecar.load(KEY)
        assert PATH == played.calls[-1].path

    play(scenario)


@pytest.mark.parametrize("key", ["email:zoë@x.y", "email:%2Fa", "email:a b+c#d"])
def test_a_key_is_the_same_in_a_save_and_in_a_load(key: str) -> None:
    """One travels in a body, the other in a path."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await sidecar.save(key, b"1", None)

        assert (b"1", "1") == await sidecar.load(key)

    play(scenario)


@pytest.mark.parametrize(("token", "expected"), [("out-token", "out-token"), ("", None)])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_carries_the_sidecars_token(call: str, token: str, expected: str | None) -> None:
    """The sidecar refuses strangers, too; an empty token is not sent."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        await CALLS[call](sidecar)

        assert [expected] == [each.token for each in played.calls]

    play(scenario, token)


@pytest.mark.parametrize("call", CALLS)
def test_nobody_listening_means_that_nothing_was_handed_over(call: str) -> None:
    """That is worth knowing: such a call may be made again without a doubt."""

    async def scenario() -> None:
        async with connect(free_port(), "out-token") as sidecar:
            with pytest.raises(SidecarUnreachable):
                await CALLS[call](sidecar)
            assert (call in STATE_CALLS) == sidecar.store.is_unreachable

    asyncio.run(scenario())


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_never_came_leaves_it_open_whether_the_call_was_made(call: str) -> None:
    """The connection is lost after the request was sent."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.hangs_up = True

        with pytest.raises(SidecarUnavailable) as failed:
            await CALLS[call](sidecar)
        assert SidecarUnavailable is type(failed.value)
        assert (call in STATE_CALLS) == sidecar.store.is_unreachable

    play(scenario)


def test_a_call_is_not_waited_for_longer_than_its_time() -> None:
    """A sidecar that says nothing is unreachable."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.is_silent = True

        with pytest.raises(SidecarUnavailable) as failed:
            await sidecar.invoke("lamps", "/lamp/1", 0.05)
        assert SidecarTimeout is type(failed.value)

    play(scenario)


@pytest.mark.parametrize("call", ["load", "load_many"])
def test_a_load_that_fails_says_that_the_store_is_unreachable_until_one_succeeds(call: str) -> None:
    """The health of the app follows the store's."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await CALLS[call](sidecar)
        assert sidecar.store.is_unreachable
        await CALLS[call](sidecar)
        assert not sidecar.store.is_unreachable

    play(scenario)


def test_the_store_is_asked_whether_it_is_back() -> None:
    """With one write and one read, which clear what a failed load said."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.answers = [web.Response(status=500), web.Response(status=500), web.Response(status=500)]

        with pytest.raises(SidecarUnavailable):
            await sidecar.load("k")
        assert (False, True) == (await sidecar.store_answers(), sidecar.store.is_unreachable)
        assert (True, False) == (await sidecar.store_answers(), sidecar.store.is_unreachable)

    play(scenario)


def test_a_store_that_says_nothing_is_unreachable() -> None:
    """The question has a time-out of its own, for somebody waits for the answer."""

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.is_silent = True

        assert (False, True) == (await sidecar.store_answers(0.05), sidecar.store.is_unreachable)

    play(scenario)


def test_a_sidecar_that_is_not_up_yet_makes_no_app_unhealthy() -> None:
    """It asks for the app's health as soon as it is up; a wrong answer then costs a second of the start."""

    async def scenario() -> None:
        async with connect(free_port(), "out-token") as sidecar:
            assert not await sidecar.store_answers()
            assert sidecar.store.is_healthy
            assert "no write to the store worked yet" == sidecar.store.problem

    asyncio.run(scenario())


def test_publishes_that_do_not_return_leave_room_for_other_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that blocks publishing blocks neither state nor reads."""
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(module, "PUBLISHES_MAX", 1, raising=False)

    async def scenario(played: Daprd, sidecar: HttpSidecar) -> None:
        played.is_silent = True
        publishing = asyncio.create_task(sidecar.publish("Lamp", b"{}"))
        await until(lambda: bool(played.calls))
        await asyncio.sleep(0)
        played.is_silent = False

        async with asyncio.timeout(5):
            assert (None, None) == await sidecar.load("k")
        publishing.cancel()

    play(scenario)
