"""A promise is kept until its reply is seen: by this process, by the next one, by another replica."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.errors import SidecarAway
from chassis.serve import background
from gateway import promises as module
from gateway.command import Command
from gateway.promise_records import Refusal
from gateway.promises import NotPromised, Promises
from tests.unit.gateway.clock import run_jumping
from tests.unit.gateway.fakes import FakeSidecar, until

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id":"c-1"}')
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id":"c-2"}')
REFUSAL = Refusal(409, "email_taken", "taken")
RECORD, PAGE = "promise:o-1", "promises:gateway-0:0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second of waiting is needed here."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.002)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.001)


@asynccontextmanager
async def replica(sidecar: FakeSidecar, pod_name: str = "gateway-0", minutes: int = 0) -> AsyncIterator[Promises]:
    """One running replica, some minutes after the start."""
    promises = Promises(sidecar, pod_name, lambda: START + timedelta(minutes=minutes))
    async with background(promises.carry()):
        await until(lambda: promises.resumed or sidecar.store_is_down)
        yield promises


def play(scenario: Callable[[FakeSidecar], Coroutine[Any, Any, None]]) -> FakeSidecar:
    """Play one scenario."""
    sidecar = FakeSidecar()
    asyncio.run(scenario(sidecar))
    return sidecar


def test_the_command_is_published_again_until_it_is_answered() -> None:
    """Also when publishing fails in between; then it is written down as kept and forgotten."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarAway("away")]
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            await until(lambda: len(sidecar.published) >= 2)
            promises.settle("c-1", None)
            await until(lambda: not promises._open)
            assert not promises.is_pending("c-1")

    sidecar = play(scenario)

    assert ("OrderCreateRequested", {"id": "c-1"}) == sidecar.published[0]
    assert "kept" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_a_promise_is_in_the_store_before_it_is_given() -> None:
    """The record and the page that the next process reads."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            assert "pending" == sidecar.read(RECORD)["commands"][0]["outcome"]
            assert ["o-1"] == sidecar.read(PAGE)["ids"]

    play(scenario)


@pytest.mark.parametrize("lost", ["nothing", "the page"])
def test_the_next_process_goes_on_with_it(lost: str) -> None:
    """It publishes at once, sees the reply and writes the refusal; without a page somebody has to ask first."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
        sidecar.published.clear()
        if lost == "the page":
            del sidecar.records[PAGE]
        async with replica(sidecar, minutes=1) as promises:
            if lost == "the page":
                await promises.look("/order/o-1")
            await until(lambda: bool(sidecar.published))
            promises.settle("c-1", REFUSAL)
            await until(lambda: not promises._open)
            record = await promises.look("/order/o-1")
            assert record is not None
            assert REFUSAL == record.refusal

    play(scenario)


def test_another_replica_that_is_asked_goes_on_with_it_when_it_is_left_alone() -> None:
    """Not at once: the one that promised it is at work."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
        other = FakeSidecar(sidecar.records)
        async with replica(other, "gateway-1") as promises:
            record = await promises.look("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert {} == promises._open
        async with replica(other, "gateway-1", minutes=1) as promises:
            await promises.look("/order/o-1")
            await until(lambda: bool(other.published))
            promises.settle("c-1", None)
            await until(lambda: not promises._open)

    sidecar = play(scenario)

    assert "kept" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_whoever_asks_need_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try would be in an hour; asked for, it is now, but not each time that somebody asks."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        promises = Promises(sidecar, "gateway-1", lambda: START + timedelta(minutes=sidecar.minutes))
        async with background(promises.carry()):
            await until(lambda: promises.resumed)
            await promises.make(COMMAND)
            sidecar.minutes = 1
            promises._open["o-1"].hurried -= module.ADOPT_SECONDS
            for _ in range(5):
                await promises.look("/order/o-1")
                await until(lambda: len(sidecar.published) == 1)
                await asyncio.sleep(0.005)

    assert 1 == len(play(scenario).published)


def test_a_shop_that_answers_nothing_is_sent_few_repetitions() -> None:
    """At most so many are unanswered at a time; those that had the fewest come first, and what is answered makes room.

    A slow shop would otherwise be sent each command many times.
    """

    async def scenario() -> None:
        sidecar = FakeSidecar()
        async with replica(sidecar) as promises:
            first = [Command(f"c-{number}", "T", f"/order/o-{number}", b'{"id":"o"}') for number in range(30)]
            for each in first:
                await promises.make(each)
            await asyncio.sleep(module.UNANSWERED_SECONDS / 2)
            assert module.UNANSWERED_MAX == len(sidecar.published)
            await asyncio.sleep(module.UNANSWERED_SECONDS)
            assert 2 * module.UNANSWERED_MAX == len(sidecar.published)

            await promises.make(Command("late", "T", "/order/late", b'{"id":"late"}'))
            await asyncio.sleep(2 * module.UNANSWERED_SECONDS)
            assert 1 == sum(event["id"] == "late" for _, event in sidecar.published)
            assert 4 * module.UNANSWERED_MAX == len(sidecar.published)

            for each in first:
                promises.settle(each.id, None)
            await until(lambda: promises.count == 1)
            assert promises._window.room >= module.UNANSWERED_MAX - 1  # one is repeated to the late one

    run_jumping(scenario())


def test_while_the_broker_is_away_the_pauses_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody got a copy; when the broker is back it is published soon."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.0001)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarAway("away")] * 40
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            async with asyncio.timeout(10):
                await until(lambda: len(sidecar.published) > 0)

    assert "c-1" == play(scenario).published[0][1]["id"]


def test_the_first_replica_goes_on_with_what_a_gone_one_promised() -> None:
    """Nobody has to ask; what is settled is looked at once, and a store that is away is waited for."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-3") as gone:
            await gone.make(COMMAND)
        sidecar.published.clear()
        async with (
            replica(sidecar, "gateway-2", minutes=1) as second,
            replica(sidecar, "gateway-0", minutes=1) as first,
            background(second.look_after_others()),
        ):
            sidecar.store_is_down = True
            async with background(first.look_after_others()):
                await asyncio.sleep(0.01)  # some looks that find no store
                sidecar.store_is_down = False
                await until(lambda: len(sidecar.published) > 0)
                assert not second.is_pending("c-1")
                first.settle("c-1", None)
                await until(lambda: not first._open)
                published = len(sidecar.published)
                await asyncio.sleep(0.01)  # some looks that find it settled
                assert published == len(sidecar.published)

    sidecar = play(scenario)

    assert "kept" == sidecar.read(RECORD)["commands"][0]["outcome"]
    assert {"ids": ["o-1"]} == sidecar.read("promises:gateway-3:0")  # nobody but its owner writes it


def test_a_promise_that_is_a_moment_old_is_left_to_its_replica() -> None:
    """It is at work on it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-1") as owner:
            await owner.make(COMMAND)
        async with replica(sidecar) as first:
            assert set() == await first._adopt_from_others(set())
            assert not first._open

    play(scenario)


@pytest.mark.parametrize(
    ("pod_name", "number"), [("gateway-0", 9), ("gateway-1", 0), ("gateway-10", 0), ("gateway", 0), ("0", 0)]
)
def test_only_the_first_replica_looks_after_others(pod_name: str, number: int) -> None:
    """And a name that is no ordinal's looks after nobody."""
    assert number == len(module.others_of(pod_name))


def test_a_reply_that_comes_while_the_promise_is_written_is_not_lost() -> None:
    """The outcome is written after it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            sidecar.before_save = lambda _key: promises.settle("c-1", None)
            await promises.make(COMMAND)
            await until(lambda: not promises._open)

    sidecar = play(scenario)

    assert "kept" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_each_command_of_a_resource_has_an_outcome_of_its_own() -> None:
    """key_reused is said of one, and hides nothing of the other."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            await promises.make(OTHER_BODY)
            promises.settle("c-2", Refusal(422, "key_reused", "reused"))
            await until(lambda: not promises._open["o-1"].outcomes)
            record = await promises.look("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert promises.is_pending("c-1")

    play(scenario)


def test_an_outcome_is_written_when_the_store_is_back() -> None:
    """Until then it is remembered."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            sidecar.store_is_down = True
            promises.settle("c-1", REFUSAL)
            await asyncio.sleep(0.01)
            sidecar.store_is_down = False
            await until(lambda: not promises._open)

    sidecar = play(scenario)

    assert "refused" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_requests_with_one_command_make_one_promise() -> None:
    """The one that comes while it is written waits for it; the one that comes later is told without a write."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            made = [*await asyncio.gather(promises.start(COMMAND), promises.start(COMMAND))]
            made.append(await promises.start(COMMAND))
            assert ["pending"] * 3 == [each.outcome for each in made]
            assert 1 == sidecar.saves.count(RECORD)

    play(scenario)


def test_a_promise_that_is_settled_is_read_again() -> None:
    """What is known to be written is not the outcome."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            await promises.make(OTHER_BODY)
            promises.settle("c-1", REFUSAL)
            await until(lambda: sidecar.read(RECORD)["commands"][0]["outcome"] == "refused")
            assert REFUSAL == (await promises.make(COMMAND)).refusal

    play(scenario)


def test_a_repeated_request_hurries_what_waits_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in a while; what is not carried here is the request's to publish."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            assert not promises.carries(COMMAND)
            await promises.make(COMMAND)
            assert promises.carries(COMMAND)  # its request has just published it
            assert not promises.carries(OTHER_BODY)
            await asyncio.sleep(0.005)
            assert [] == sidecar.published
            promises._open["o-1"].hurried -= module.ADOPT_SECONDS
            for _ in range(5):
                assert promises.carries(COMMAND)
                await until(lambda: len(sidecar.published) == 1)
                await asyncio.sleep(0.005)

    assert 1 == len(play(scenario).published)


def test_a_promise_waits_until_those_of_an_earlier_process_are_read() -> None:
    """Its page would be written without theirs."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
        sidecar.store_is_down = True
        async with replica(sidecar) as promises:
            made = promises.start(Command("c-3", "T", "/order/o-3", b"{}"))
            await asyncio.sleep(0.01)
            assert not made.done()
            assert "before the restart" in promises.why_late
            sidecar.store_is_down = False
            await made
            assert {"o-1", "o-3"} == set(sidecar.read(PAGE)["ids"])

    play(scenario)


def test_a_promise_that_is_being_made_ends_with_the_process() -> None:
    """Nothing goes on behind the back of a process that stops."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.store_is_down = True
        async with replica(sidecar) as promises:
            made = promises.start(COMMAND)
            await asyncio.sleep(0)
        assert made.cancelled()

    play(scenario)


def test_nothing_is_promised_while_the_store_is_away() -> None:
    """The caller is told."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            sidecar.store_is_down = True
            with pytest.raises(NotPromised, match="down"):
                await promises.make(COMMAND)
            sidecar.store_is_down = False
            await until(lambda: not promises._open)

    sidecar = play(scenario)

    assert {} == sidecar.records


def test_open_promises_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a replica can carry are not promised."""
    monkeypatch.setattr(module, "OPEN_MAX", 1)

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            with pytest.raises(NotPromised, match="1 promises are open"):
                await promises.make(Command("c-3", "T", "/order/o-3", b"{}"))

    play(scenario)


def test_a_promise_is_known_by_its_whole_location() -> None:
    """Another kind of resource under the same id is another resource."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            await promises.make(COMMAND)
            assert await promises.look("/user/o-1") is None
            assert await promises.look("/order/o-2") is None

    play(scenario)


def test_a_reply_to_nobody_changes_nothing() -> None:
    """Most replies are for others."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as promises:
            promises.settle("c-9", REFUSAL)

    assert {} == play(scenario).records
