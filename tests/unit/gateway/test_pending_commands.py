"""A pending command is repeated until its reply is seen: by this process, by the next one, by another replica."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.errors import SidecarUnavailable
from chassis.serve import background
from gateway import pending_commands as module
from gateway.command import Command
from gateway.pending_commands import NotRecorded, PendingCommands
from gateway.pending_records import Rejection
from tests.unit.gateway.fakes import FakeSidecar, until

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id":"c-1"}')
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id":"c-2"}')
REJECTION = Rejection(409, "email_taken", "taken")
RECORD, PAGE = "pending:o-1", "pending-index:gateway-0:0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second of waiting is needed here."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 0.002)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.001)


@asynccontextmanager
async def replica(
    sidecar: FakeSidecar, pod_name: str = "gateway-0", minutes: int = 0
) -> AsyncIterator[PendingCommands]:
    """One running replica, some minutes after the start."""
    pending_commands = PendingCommands(sidecar, pod_name, lambda: START + timedelta(minutes=minutes))
    async with background(pending_commands.carry()):
        await until(lambda: pending_commands.resumed or sidecar.store_is_down)
        yield pending_commands


def play(scenario: Callable[[FakeSidecar], Coroutine[Any, Any, None]]) -> FakeSidecar:
    """Play one scenario."""
    sidecar = FakeSidecar()
    asyncio.run(scenario(sidecar))
    return sidecar


def test_the_command_is_published_again_until_it_is_answered() -> None:
    """Also when publishing fails in between; then it is written down as kept and forgotten."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarUnavailable("unreachable")]
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            await until(lambda: len(sidecar.published) >= 2)
            pending_commands.settle("c-1", None)
            await until(lambda: not pending_commands._open)
            assert not pending_commands.is_pending("c-1")

    sidecar = play(scenario)

    assert ("OrderCreateRequested", {"id": "c-1"}) == sidecar.published[0]
    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_a_pending_command_is_in_the_store_before_it_is_given() -> None:
    """The record and the page that the next process reads."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            assert "pending" == sidecar.read(RECORD)["commands"][0]["outcome"]
            assert ["o-1"] == sidecar.read(PAGE)["ids"]

    play(scenario)


@pytest.mark.parametrize("lost", ["nothing", "the page"])
def test_the_next_process_goes_on_with_it(lost: str) -> None:
    """It publishes at once, sees the reply and writes the refusal; without a page somebody has to ask first."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
        sidecar.published.clear()
        if lost == "the page":
            del sidecar.records[PAGE]
        async with replica(sidecar, minutes=1) as pending_commands:
            if lost == "the page":
                await pending_commands.find("/order/o-1")
            await until(lambda: bool(sidecar.published))
            pending_commands.settle("c-1", REJECTION)
            await until(lambda: not pending_commands._open)
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert REJECTION == record.rejection

    play(scenario)


def test_another_replica_that_is_asked_goes_on_with_it_when_it_is_left_alone() -> None:
    """Not at once: the one that accepted it is at work."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
        other = FakeSidecar(sidecar.records)
        async with replica(other, "gateway-1") as pending_commands:
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert {} == pending_commands._open
        async with replica(other, "gateway-1", minutes=1) as pending_commands:
            await pending_commands.find("/order/o-1")
            await until(lambda: bool(other.published))
            pending_commands.settle("c-1", None)
            await until(lambda: not pending_commands._open)

    sidecar = play(scenario)

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_whoever_asks_need_not_wait_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next try would be in an hour; asked for, it is now, but not each time that somebody asks."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        pending_commands = PendingCommands(sidecar, "gateway-1", lambda: START + timedelta(minutes=sidecar.minutes))
        async with background(pending_commands.carry()):
            await until(lambda: pending_commands.resumed)
            await pending_commands.add(COMMAND)
            sidecar.minutes = 1
            for _ in range(5):
                await pending_commands.find("/order/o-1")
                await until(lambda: len(sidecar.published) == 1)
                await asyncio.sleep(0.005)

    assert 1 == len(play(scenario).published)


def test_while_the_broker_is_unreachable_the_pauses_do_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody got a copy; when the broker is back it is published soon."""
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.0001)
    monkeypatch.setattr(module, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarUnavailable("unreachable")] * 40
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            async with asyncio.timeout(10):
                await until(lambda: len(sidecar.published) > 0)

    assert "c-1" == play(scenario).published[0][1]["id"]


def test_the_first_replica_goes_on_with_what_a_gone_one_accepted() -> None:
    """Nobody has to ask; what is settled is looked at once, and a store that is unreachable is waited for."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-3") as gone:
            await gone.add(COMMAND)
        sidecar.published.clear()
        async with (
            replica(sidecar, "gateway-2", minutes=1) as second,
            replica(sidecar, "gateway-0", minutes=1) as first,
            background(second.adopt_from_other_replicas()),
        ):
            sidecar.store_is_down = True
            async with background(first.adopt_from_other_replicas()):
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

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]
    assert {"ids": ["o-1"]} == sidecar.read("pending-index:gateway-3:0")  # nobody but its owner writes it


def test_a_pending_command_that_is_a_moment_old_is_left_to_its_replica() -> None:
    """It is at work on it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-1") as owner:
            await owner.add(COMMAND)
        async with replica(sidecar) as first:
            assert set() == await first._adopt_from_others(set())
            assert not first._open

    play(scenario)


@pytest.mark.parametrize(
    ("pod_name", "number"), [("gateway-0", 9), ("gateway-1", 0), ("gateway-10", 0), ("gateway", 0), ("0", 0)]
)
def test_only_the_first_replica_looks_after_others(pod_name: str, number: int) -> None:
    """And a name that is no ordinal's looks after nobody."""
    assert number == len(module.other_replicas(pod_name))


def test_a_reply_that_comes_while_the_pending_command_is_written_is_not_lost() -> None:
    """The outcome is written after it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            sidecar.before_save = lambda _key: pending_commands.settle("c-1", None)
            await pending_commands.add(COMMAND)
            await until(lambda: not pending_commands._open)

    sidecar = play(scenario)

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_each_command_of_a_resource_has_an_outcome_of_its_own() -> None:
    """key_reused is said of one, and hides nothing of the other."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            await pending_commands.add(OTHER_BODY)
            pending_commands.settle("c-2", Rejection(422, "key_reused", "reused"))
            await until(lambda: not pending_commands._open["o-1"].outcomes)
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert pending_commands.is_pending("c-1")

    play(scenario)


def test_an_outcome_is_written_when_the_store_is_back() -> None:
    """Until then it is remembered."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            sidecar.store_is_down = True
            pending_commands.settle("c-1", REJECTION)
            await asyncio.sleep(0.01)
            sidecar.store_is_down = False
            await until(lambda: not pending_commands._open)

    sidecar = play(scenario)

    assert "rejected" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_nothing_is_accepted_while_the_store_is_unreachable() -> None:
    """Nor before the pending commands of an earlier process are known."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.store_is_down = True
        async with replica(sidecar) as pending_commands:
            with pytest.raises(NotRecorded, match="not been reloaded"):
                await pending_commands.add(COMMAND)
            sidecar.store_is_down = False
            await until(lambda: pending_commands.resumed)
            sidecar.store_is_down = True
            with pytest.raises(NotRecorded, match="down"):
                await pending_commands.add(COMMAND)
            sidecar.store_is_down = False
            await until(lambda: not pending_commands._open)

    sidecar = play(scenario)

    assert {} == sidecar.records


def test_pending_commands_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a replica can carry are not pending."""
    monkeypatch.setattr(module, "OPEN_MAX", 1)

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            with pytest.raises(NotRecorded, match="1 commands are pending"):
                await pending_commands.add(Command("c-3", "T", "/order/o-3", b"{}"))

    play(scenario)


def test_a_pending_command_is_known_by_its_whole_location() -> None:
    """Another kind of resource under the same id is another resource."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            assert await pending_commands.find("/user/o-1") is None
            assert await pending_commands.find("/order/o-2") is None

    play(scenario)


def test_a_reply_to_nobody_changes_nothing() -> None:
    """Most replies are for others."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            pending_commands.settle("c-9", REJECTION)

    assert {} == play(scenario).records
