"""A pending command is repeated until its reply arrives.

This process, its successor or another replica repeats it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.server.serve import background
from sidecart.edge import pending_commands as module
from sidecart.edge import pending_tracking, pending_worker
from sidecart.edge.command import Command
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.pending_records import Rejection
from sidecart.edge.pending_worker import PendingWorker, republisher
from sidecart.edge.replicas import Replicas
from tests.unit.edge.clock import run_jumping
from tests.unit.edge.fakes import FakeSidecar, until

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMAND = Command("c-1", "OrderCreateRequested", "/order/o-1", b'{"id":"c-1"}')
OTHER_BODY = Command("c-2", "OrderCreateRequested", "/order/o-1", b'{"id":"c-2"}')
REJECTION = Rejection(409, "email_taken", "taken")
RECORD, PAGE = "pending:o-1", "pending-index:gateway-0:0"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten all intervals to milliseconds."""
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS", 0.001)
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS_MAX", 0.002)
    monkeypatch.setattr(pending_tracking, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(pending_worker, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(pending_worker, "OTHERS_SECONDS", 0.001)


@asynccontextmanager
async def replica(
    sidecar: FakeSidecar, pod_name: str = "gateway-0", minutes: int = 0
) -> AsyncIterator[PendingCommands]:
    """Run one replica, `minutes` after START."""
    pending_commands = PendingCommands(sidecar, pod_name, lambda: START + timedelta(minutes=minutes))
    async with background(worker(pending_commands, sidecar, pod_name, minutes).work()):
        await until(lambda: pending_commands.resumed or sidecar.store_is_down)
        yield pending_commands


def worker(
    pending_commands: PendingCommands, sidecar: FakeSidecar, pod_name: str = "gateway-0", minutes: int = 0
) -> PendingWorker:
    """Return the worker of a replica, `minutes` after START."""
    replicas = Replicas(sidecar, pod_name, lambda: START + timedelta(minutes=minutes))
    return PendingWorker(pending_commands, republisher(sidecar, ""), replicas)


def play(scenario: Callable[[FakeSidecar], Coroutine[Any, Any, None]]) -> FakeSidecar:
    """Run one scenario, and return its sidecar."""
    sidecar = FakeSidecar()
    asyncio.run(scenario(sidecar))
    return sidecar


def test_a_command_is_published_again_until_its_reply_arrives() -> None:
    """A failed publish is retried.

    After the reply the command is stored as confirmed and forgotten.
    """

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarUnavailable("unreachable")]
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            await until(lambda: len(sidecar.published) >= 2)
            pending_commands.settle("c-1", None)
            await until(lambda: not pending_commands.tracking.open)
            assert "c-1" not in pending_commands.resource_of

    sidecar = play(scenario)

    assert ("OrderCreateRequested", {"id": "c-1"}) == sidecar.published[0]
    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_a_command_is_pending_only_once_the_store_has_it() -> None:
    """The store has the record, and the index page that the next process reads."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            assert "pending" == sidecar.read(RECORD)["commands"][0]["outcome"]
            assert ["o-1"] == sidecar.read(PAGE)["ids"]

    play(scenario)


@pytest.mark.parametrize("lost", ["nothing", "the page"])
def test_the_next_process_resumes_a_pending_command(lost: str) -> None:
    """It publishes at once, receives the reply and writes the rejection.

    Without the index page it resumes the command after a read.
    """

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
            await until(lambda: not pending_commands.tracking.open)
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert REJECTION == record.rejection

    play(scenario)


def test_a_read_makes_another_replica_adopt_an_old_pending_command() -> None:
    """A recent command stays with the replica that accepted it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
        other = FakeSidecar(sidecar.records)
        async with replica(other, "gateway-1") as pending_commands:
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert {} == pending_commands.tracking.open
        async with replica(other, "gateway-1", minutes=1) as pending_commands:
            await pending_commands.find("/order/o-1")
            await until(lambda: bool(other.published))
            pending_commands.settle("c-1", None)
            await until(lambda: not pending_commands.tracking.open)

    sidecar = play(scenario)

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_a_read_makes_a_pending_command_due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt would be in an hour. Several reads cause one attempt."""
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        pending_commands = PendingCommands(sidecar, "gateway-1", lambda: START + timedelta(minutes=sidecar.minutes))
        async with background(worker(pending_commands, sidecar, "gateway-1").work()):
            await until(lambda: pending_commands.resumed)
            await pending_commands.add(COMMAND)
            sidecar.minutes = 1
            pending_commands.tracking.open["o-1"].expedited_at -= pending_tracking.ADOPT_SECONDS
            for _ in range(5):
                await pending_commands.find("/order/o-1")
                await until(lambda: len(sidecar.published) == 1)
                await asyncio.sleep(0.005)

    assert 1 == len(play(scenario).published)


def test_a_shop_that_answers_nothing_receives_few_repetitions() -> None:
    """The number of unanswered repetitions is limited, and an answer makes room for another.

    The commands with the fewest repetitions come first. Without the limit a slow shop would receive
    each command many times.
    """

    async def scenario() -> None:
        sidecar = FakeSidecar()
        async with replica(sidecar) as pending_commands:
            first = [Command(f"c-{number}", "T", f"/order/o-{number}", b'{"id":"o"}') for number in range(30)]
            for each in first:
                await pending_commands.add(each)
            await asyncio.sleep(module.UNANSWERED_SECONDS / 2)
            assert module.UNANSWERED_MAX == len(sidecar.published)
            await asyncio.sleep(module.UNANSWERED_SECONDS)
            assert 2 * module.UNANSWERED_MAX == len(sidecar.published)

            await pending_commands.add(Command("late", "T", "/order/late", b'{"id":"late"}'))
            await asyncio.sleep(2 * module.UNANSWERED_SECONDS)
            assert 1 == sum(event["id"] == "late" for _, event in sidecar.published)
            assert 4 * module.UNANSWERED_MAX == len(sidecar.published)

            for each in first:
                pending_commands.settle(each.id, None)
            await until(lambda: pending_commands.count == 1)
            assert pending_commands.window.room >= module.UNANSWERED_MAX - 1  # the late one has no answer

    run_jumping(scenario())


def test_while_the_broker_is_unreachable_the_back_off_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """No service received a copy, so the command is published soon after the broker returns."""
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS", 0.0001)
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.publish_errors = [SidecarUnavailable("unreachable")] * 40
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            async with asyncio.timeout(10):
                await until(lambda: len(sidecar.published) > 0)

    assert "c-1" == play(scenario).published[0][1]["id"]


def test_the_first_replica_adopts_the_commands_of_a_replica_that_is_gone() -> None:
    """This needs no read. A settled resource is loaded once.

    While the store is unreachable, the replica tries again.
    """

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-3") as gone:
            await gone.add(COMMAND)
        sidecar.published.clear()
        async with (
            replica(sidecar, "gateway-2", minutes=1) as second,
            replica(sidecar, "gateway-0", minutes=1) as first,
        ):
            await Replicas(sidecar, "gateway-0", lambda: START + timedelta(minutes=1)).beat()
            assert set() == await worker(second, sidecar, "gateway-2", minutes=1).adopt_from_lost(set())
            sidecar.store_is_down = True
            adopting = worker(first, sidecar, minutes=1).adopt_from_other_replicas()
            async with background(adopting):
                await asyncio.sleep(0.01)  # several scans fail
                sidecar.store_is_down = False
                await until(lambda: len(sidecar.published) > 0)
                assert "c-1" not in second.resource_of
                first.settle("c-1", None)
                await until(lambda: not first.tracking.open)
                published = len(sidecar.published)
                await asyncio.sleep(0.01)  # several scans find it settled
                assert published == len(sidecar.published)

    sidecar = play(scenario)

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]
    assert {"ids": ["o-1"]} == sidecar.read("pending-index:gateway-3:0")  # only its owner writes it


def test_a_recent_pending_command_is_not_adopted() -> None:
    """The replica that accepted it is processing it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar, "gateway-1") as owner:
            await owner.add(COMMAND)
        async with replica(sidecar) as first:
            assert set() == await worker(first, sidecar).adopt_from_lost(set())
            assert not first.tracking.open

    play(scenario)


def test_an_adopted_command_names_the_replica_that_adopts_it() -> None:
    """The replica that accepted it is gone, and with it the reader of its reply topics."""

    async def scenario(sidecar: FakeSidecar) -> None:
        await republisher(sidecar, "gateway-1")("OrderCreateRequested", b'{"id":"c-1","replyto":"gateway-3"}')
        await republisher(sidecar, "")("OrderCreateRequested", b'{"id":"c-1","replyto":"gateway-3"}')

    published = [event for _, event in play(scenario).published]

    assert [{"id": "c-1", "replyto": "gateway-1"}, {"id": "c-1"}] == published


def test_a_command_is_recorded_once_the_index_has_it() -> None:
    """The worker finds the record of a command whose write to the index failed."""

    def refuse_page(key: str) -> None:
        if key == PAGE:
            raise SidecarUnavailable("unreachable")

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            sidecar.before_save = refuse_page
            with pytest.raises(NotRecorded):
                await pending_commands.add(COMMAND)
            await until(lambda: "c-1" in pending_commands.tracking.open["o-1"].recorded)
            with pytest.raises(NotRecorded):
                await pending_commands.add(COMMAND)
            sidecar.before_save = lambda _key: None
            await pending_commands.add(COMMAND)

    assert {"ids": ["o-1"]} == play(scenario).read(PAGE)


def test_a_reply_during_the_write_of_the_pending_command_is_not_lost() -> None:
    """The outcome is written after the command."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            sidecar.before_save = lambda _key: pending_commands.settle("c-1", None)
            await pending_commands.add(COMMAND)
            await until(lambda: not pending_commands.tracking.open)

    sidecar = play(scenario)

    assert "confirmed" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_each_command_of_a_resource_has_its_own_outcome() -> None:
    """key_reused for one command leaves the other command pending."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            await pending_commands.add(OTHER_BODY)
            pending_commands.settle("c-2", Rejection(422, "key_reused", "reused"))
            await until(lambda: not pending_commands.tracking.open["o-1"].outcomes)
            record = await pending_commands.find("/order/o-1")
            assert record is not None
            assert ["c-1"] == [each.id for each in record.pending]
            assert "c-1" in pending_commands.resource_of

    play(scenario)


def test_an_outcome_is_written_once_the_store_is_reachable() -> None:
    """Until then the outcome stays in memory."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            sidecar.store_is_down = True
            pending_commands.settle("c-1", REJECTION)
            await asyncio.sleep(0.01)
            sidecar.store_is_down = False
            await until(lambda: not pending_commands.tracking.open)

    sidecar = play(scenario)

    assert "rejected" == sidecar.read(RECORD)["commands"][0]["outcome"]


def test_requests_with_one_command_share_one_write() -> None:
    """A request during the write waits for it. A later request needs no write."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            start = pending_commands.start_adding
            added = [*await asyncio.gather(start(COMMAND), start(COMMAND))]
            added.append(await start(COMMAND))
            assert ["pending"] * 3 == [each.outcome for each in added]
            assert 1 == sidecar.saves.count(RECORD)

    play(scenario)


def test_a_settled_command_is_read_again() -> None:
    """A command in the store is not known to be pending once it has an outcome."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            await pending_commands.add(OTHER_BODY)
            pending_commands.settle("c-1", REJECTION)
            await until(lambda: sidecar.read(RECORD)["commands"][0]["outcome"] == "rejected")
            assert REJECTION == (await pending_commands.add(COMMAND)).rejection

    play(scenario)


def test_a_repeated_request_makes_a_pending_command_due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several requests cause one attempt. A request publishes an untracked command itself."""
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS", 3600.0)
    monkeypatch.setattr(pending_tracking, "BACKOFF_SECONDS_MAX", 3600.0)

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            assert not pending_commands.expedite(COMMAND)
            await pending_commands.add(COMMAND)
            assert pending_commands.expedite(COMMAND)  # its request has just published it
            assert not pending_commands.expedite(OTHER_BODY)
            await asyncio.sleep(0.005)
            assert [] == sidecar.published
            pending_commands.tracking.open["o-1"].expedited_at -= pending_tracking.ADOPT_SECONDS
            for _ in range(5):
                assert pending_commands.expedite(COMMAND)
                await until(lambda: len(sidecar.published) == 1)
                await asyncio.sleep(0.005)

    assert 1 == len(play(scenario).published)


def test_a_command_is_recorded_after_those_of_an_earlier_process_are_loaded() -> None:
    """Otherwise its index page would be written without their ids."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
        sidecar.store_is_down = True
        async with replica(sidecar) as pending_commands:
            task = pending_commands.start_adding(Command("c-3", "T", "/order/o-3", b"{}"))
            await asyncio.sleep(0.01)
            assert not task.done()
            assert "not been reloaded" in pending_commands.late_reason
            sidecar.store_is_down = False
            await task
            assert {"o-1", "o-3"} == set(sidecar.read(PAGE)["ids"])

    play(scenario)


def test_an_unfinished_write_ends_with_the_process() -> None:
    """No write continues after a shutdown."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.store_is_down = True
        async with replica(sidecar) as pending_commands:
            task = pending_commands.start_adding(COMMAND)
            await asyncio.sleep(0)
        assert task.cancelled()

    play(scenario)


def test_nothing_is_accepted_while_the_store_is_unreachable() -> None:
    """The error gives the reason."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            sidecar.store_is_down = True
            with pytest.raises(NotRecorded, match="down"):
                await pending_commands.add(COMMAND)
            sidecar.store_is_down = False
            await until(lambda: not pending_commands.tracking.open)

    sidecar = play(scenario)

    assert {} == sidecar.records


def test_pending_commands_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Above OPEN_MAX no command becomes pending."""
    monkeypatch.setattr(pending_tracking, "OPEN_MAX", 1)

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            with pytest.raises(NotRecorded, match="1 commands are pending"):
                await pending_commands.add(Command("c-3", "T", "/order/o-3", b"{}"))

    play(scenario)


def test_a_pending_command_is_found_by_its_whole_location() -> None:
    """Another kind of resource with the same id is another resource."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            await pending_commands.add(COMMAND)
            assert await pending_commands.find("/user/o-1") is None
            assert await pending_commands.find("/order/o-2") is None

    play(scenario)


def test_a_reply_to_an_unknown_command_changes_nothing() -> None:
    """Most replies are for other replicas."""

    async def scenario(sidecar: FakeSidecar) -> None:
        async with replica(sidecar) as pending_commands:
            pending_commands.settle("c-9", REJECTION)

    assert {} == play(scenario).records
