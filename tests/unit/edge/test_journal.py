"""The journal: in the store before the 201, in few writes, and loaded by the next process."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from sidecart.chassis.errors import TransientError
from sidecart.edge import journal as module
from sidecart.edge.journal import Batches, Flow, Journal
from sidecart.edge.journal_recovery import CARRY_SECONDS, resume, tidy
from sidecart.edge.problems import Problem
from tests.unit.edge.fakes import FakeSidecar

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that the test controls."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        """Return the current time."""
        return self.now


def new_journal(sidecar: FakeSidecar, pod_name: str = "gateway-0", clock: Clock | None = None) -> Journal:
    """Return a new journal."""
    return Journal(sidecar, pod_name, clock or Clock())


def names(flows: list[Flow]) -> list[tuple[str, str]]:
    """Return the kind and the resource of each flow."""
    return [(flow.kind, flow.resource) for flow in flows]


def test_flows_that_begin_together_share_a_batch_and_a_restart_reads_them() -> None:
    """One insert, with a time to live, writes all flows (group commit).

    Another replica has its own batches.
    """
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        flows = [journal.add("order", f"o-{number}")[0] for number in range(20)]
        await journal.flush()
        assert all([await journal.written(flow, 1) for flow in flows])
        assert ["accepted:gateway-0:0"] == sidecar.saves
        assert module.RETENTION_SECONDS == sidecar.ttl_seconds["accepted:gateway-0:0"]

        assert names(flows) == names(await resume(new_journal(sidecar)))
        assert [] == await resume(new_journal(sidecar, "gateway-1"))

    asyncio.run(scenario())


def test_an_ended_flow_is_not_written_and_advances_the_first_batch_number() -> None:
    """A restart starts to read at the first batch with a flow that has not ended."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        first, second = (journal.add("order", resource)[0] for resource in ("o-1", "o-2"))
        journal.end(first)
        await journal.flush()
        third, _ = journal.add("user", "u-1")
        await journal.flush()
        journal.end(second)
        await tidy(journal)

        assert {"first": 1} == sidecar.read("accepted:gateway-0")
        assert [("user", "u-1")] == names(await resume(new_journal(sidecar)))
        assert [third] == journal.flows()

    asyncio.run(scenario())


def test_a_repeated_command_is_one_flow() -> None:
    """A repeated request waits for the batch of the first one."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        flow, is_new = journal.add("order", "o-1")
        again, is_new_again = journal.add("order", "o-1")

        assert (True, False, True) == (is_new, is_new_again, flow is again)

    asyncio.run(scenario())


def test_while_the_store_is_unreachable_the_flows_stay_for_the_next_batch() -> None:
    """`written` returns False until the store has the flow."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        flow, _ = journal.add("order", "o-1")
        sidecar.store_is_down = True
        with pytest.raises(TransientError):
            await journal.flush()
        assert not await journal.written(flow, 0.01)
        sidecar.store_is_down = False
        await journal.flush()

        assert await journal.written(flow, 1)

    asyncio.run(scenario())


def test_a_batch_that_exists_is_not_overwritten() -> None:
    """A lost response, or another process with the same pod name, may have left it there."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        sidecar.put("accepted:gateway-0:0", b'{"flows":[["order","o-0",1767225600]]}')
        journal.add("order", "o-1")
        await journal.flush()

        assert [("order", "o-0"), ("order", "o-1")] == names(await resume(new_journal(sidecar)))

    asyncio.run(scenario())


def test_the_flows_of_an_old_batch_move_to_a_new_one() -> None:
    """A stuck order does not make a restart read a week of batches. The flow keeps its time."""
    sidecar, clock = FakeSidecar(), Clock()

    async def scenario() -> None:
        journal = new_journal(sidecar, clock=clock)
        await resume(journal)
        journal.add("order", "stuck")
        await journal.flush()
        clock.now += timedelta(seconds=CARRY_SECONDS + 1)
        await tidy(journal)
        assert "accepted:gateway-0" not in sidecar.records  # not before the new batch exists
        await journal.flush()
        await tidy(journal)

        assert {"first": 1} == sidecar.read("accepted:gateway-0")
        (flow,) = await resume(new_journal(sidecar))
        assert ("stuck", START) == (flow.resource, flow.at)

    asyncio.run(scenario())


def test_the_flows_of_a_batch_keep_their_sequence() -> None:
    """A run of the simulation depends on its seed alone."""
    batches = Batches()
    flows = [Flow("order", str(number), START) for number in range(100)]
    for flow in flows:
        batches.put(flow, 0, START)

    assert flows == list(batches.flows[0])


def test_a_full_journal_rejects_new_flows_and_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway does not accept a command that it cannot repair."""
    monkeypatch.setattr(module, "FLOWS_MAX", 1)

    async def scenario() -> None:
        journal = new_journal(FakeSidecar())
        journal.add("order", "o-1")
        with pytest.raises(Problem) as refused:
            journal.add("order", "o-2")

        assert (503, 1) == (refused.value.status, journal.count)

    asyncio.run(scenario())


def test_a_large_batch_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record stays far below 1 MiB."""
    monkeypatch.setattr(module, "BATCH_FLOWS_MAX", 2)
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        for number in range(3):
            journal.add("order", f"o-{number}")
        await journal.flush()
        await journal.flush()

        assert [2, 1] == [len(sidecar.read(f"accepted:gateway-0:{number}")["flows"]) for number in (0, 1)]

    asyncio.run(scenario())


def test_the_writer_retries_until_the_store_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The held request only waits; no other call is needed."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.001)
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        sidecar.store_is_down = True
        writing = asyncio.create_task(journal.write())
        flow, _ = journal.add("order", "o-1")
        assert not await journal.written(flow, 0.01)
        sidecar.store_is_down = False

        assert await journal.written(flow, 5)
        writing.cancel()

    asyncio.run(scenario())


def test_after_a_busy_period_the_pause_before_a_batch_soon_ends() -> None:
    """The pause follows the reply time: it rises slowly and falls fast."""

    async def scenario() -> None:
        journal = new_journal(FakeSidecar())
        await resume(journal)
        now = asyncio.get_running_loop().time

        async def reply(seconds: float, number: int) -> None:
            flow, _ = journal.add("order", f"o-{number}")
            await journal.flush()
            flow.started_at = now() - seconds
            await journal.written(flow, 1)

        for number in range(100):
            await reply(1.0, number)
        assert module.LINGER_SECONDS_MAX * 0.9 < journal._linger <= module.LINGER_SECONDS_MAX
        for number in range(100, 106):
            await reply(0.004, number)
        assert journal._linger < 0.003

    asyncio.run(scenario())


def test_a_flow_known_only_from_a_read_is_written_once_its_command_is_accepted() -> None:
    """Without this, the repeated request would wait for a batch that is never written."""
    sidecar = FakeSidecar()

    async def scenario() -> None:
        journal = new_journal(sidecar)
        await resume(journal)
        known, _ = journal.add("order", "o-1", durable=False)
        await journal.flush()
        assert [] == sidecar.saves
        flow, is_new = journal.add("order", "o-1")
        await journal.flush()

        assert (known, False, True) == (flow, is_new, await journal.written(flow, 1))

    asyncio.run(scenario())


def test_nothing_is_written_before_the_number_of_the_next_batch_is_known() -> None:
    """No process would ever read a batch below the saved first number."""
    sidecar = FakeSidecar()
    sidecar.put("accepted:gateway-0", b'{"first":7}')

    async def scenario() -> None:
        journal = new_journal(sidecar)
        writing = asyncio.create_task(journal.write())
        flow, _ = journal.add("order", "o-1")
        assert not await journal.written(flow, 0.01)
        await resume(journal)

        assert await journal.written(flow, 5)
        assert ["accepted:gateway-0:7"] == sidecar.saves
        writing.cancel()

    asyncio.run(scenario())
