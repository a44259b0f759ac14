"""Carrying a command through: publish, wait, publish once more, promise."""

import asyncio

import msgspec
import pytest

from chassis.errors import SidecarAway, Unreached
from chassis.serve import Probe, background, now
from gateway.command import Command, command
from gateway.commands import Commands
from gateway.deadline import ANSWER_SECONDS, Deadline
from gateway.held import Held, Reply
from gateway.ids import command_id
from gateway.journal import Journal
from gateway.problems import Problem
from gateway.promise_records import Promised, Refusal
from gateway.promises import NotPromised, Promises
from gateway.publishing import Publishing
from gateway.reconciler import Reconciler
from tests.unit.gateway.clock import run_jumping
from tests.unit.gateway.fakes import FakeSidecar

ORDER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
REPLY = Reply("OrderCreated", msgspec.Raw(b"{}"))


def an_order() -> Command:
    """A command to place an order."""
    return command("OrderCreateRequested", ORDER, f"/order/{ORDER}", {"user_id": "u-1"}, {"order_id": ORDER})


class Edge:
    """The parts of a gateway that carry commands."""

    def __init__(self) -> None:
        self.sidecar = FakeSidecar()
        self.held = Held()
        self.promises = Promises(self.sidecar, "gateway-0", now)
        self.promises._read.set()  # nothing is left of an earlier process
        self.publishing = Publishing(self.sidecar, Probe("replies", "gateway-0"))
        self.journal = Journal(self.sidecar, "gateway-0", now)
        self.journal._read.set()  # nothing is left of an earlier process
        self.reconciler = Reconciler(self.sidecar, self.journal, self.promises, now)
        self.commands = Commands(self.publishing, self.held, self.promises, self.journal, self.reconciler)

    async def carry(self, wanted: Command, deadline: Deadline) -> Reply | None:
        """Carry a command while the journal is being written."""
        async with background(self.journal.write()):
            return await self.commands.carry(wanted, deadline)


def test_a_command_is_a_whole_cloudevent_whose_id_comes_from_resource_and_body() -> None:
    """The id is also the correlation id; the ids are part of the data, not of the canonical body."""
    made = an_order()

    event = msgspec.json.decode(made.event)
    expected_id = command_id(ORDER, {"user_id": "u-1"})
    assert (expected_id, expected_id, expected_id) == (made.id, event["id"], event["correlationid"])
    assert ("1.0", "OrderCreateRequested", "gateway", ORDER) == (
        event["specversion"],
        event["type"],
        event["source"],
        event["subject"],
    )
    assert {"order_id": ORDER, "user_id": "u-1"} == event["data"]


def test_the_reply_ends_the_wait() -> None:
    """One publish, one reply, no promise."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        carried = asyncio.create_task(edge.carry(wanted, Deadline(30)))
        await edge.sidecar.was_published.wait()
        edge.held.settle(wanted.id, REPLY)

        assert REPLY == await carried
        assert 1 == len(edge.sidecar.published)
        assert not edge.promises.is_pending(wanted.id)

    asyncio.run(scenario())


def test_at_half_time_the_same_command_is_published_once_more() -> None:
    """The broker may have lost the first one though it said otherwise."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()

        assert await edge.carry(wanted, Deadline(0.02)) is None
        assert [wanted.id, wanted.id] == [event["id"] for _, event in edge.sidecar.published]

    run_jumping(scenario())


def test_the_promise_is_begun_at_half_time() -> None:
    """A store that takes longer than what follows the wait is no reason for a 503."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.store_seconds = 0.7

        assert await edge.carry(wanted, Deadline(5)) is None
        assert "pending" == edge.sidecar.read(f"promise:{ORDER}")["commands"][0]["outcome"]

    run_jumping(scenario())


def test_a_promise_that_came_too_late_for_its_request_is_found_by_the_repeated_one() -> None:
    """The repeated request costs no write, and the command is published by the promise alone."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.store_seconds = 0.7

        with pytest.raises(NotPromised, match="in time"):
            await edge.carry(wanted, Deadline(0))
        await asyncio.sleep(10)
        saves = edge.sidecar.saves.count(f"promise:{ORDER}")
        for _ in range(3):
            assert await edge.carry(wanted, Deadline(0)) is None
        assert (1, 1) == (saves, edge.sidecar.saves.count(f"promise:{ORDER}"))
        assert 1 == len(edge.sidecar.published)

    run_jumping(scenario())


def test_publishing_again_is_a_twentieth_of_all_publishes_once_the_credit_is_gone() -> None:
    """A stopped service does not double the load."""

    async def scenario() -> None:
        edge = Edge()
        edge.commands._credit = 0.0
        for number in range(20):
            made = command("OrderCreateRequested", ORDER, f"/order/{number}", {"number": number}, {})
            assert await edge.carry(made, Deadline(0.002)) is None

        assert 21 == len(edge.sidecar.published)

    run_jumping(scenario())


def test_without_a_wait_the_command_is_promised_at_once() -> None:
    """respond-async is wait=0."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()

        assert await edge.carry(wanted, Deadline(0)) is None
        assert "pending" == edge.sidecar.read(f"promise:{ORDER}")["commands"][0]["outcome"]

    asyncio.run(scenario())


def test_nothing_handed_over_is_503_and_no_promise() -> None:
    """The caller may simply try again."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.publish_errors = [Unreached("connection refused")]

        with pytest.raises(Problem) as refused:
            await edge.carry(wanted, Deadline(30))
        assert (503, "unavailable") == (refused.value.status, refused.value.kind)
        assert not edge.promises.is_pending(wanted.id)
        assert not edge.held.is_waiting(wanted.id)

    asyncio.run(scenario())


def test_a_publish_of_unknown_result_stays_held_and_is_tried_again() -> None:
    """It may have been sent, so its reply may come."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.publish_errors = [SidecarAway("timed out")]
        carried = asyncio.create_task(edge.carry(wanted, Deadline(0.1)))
        await edge.sidecar.was_published.wait()
        edge.held.settle(wanted.id, REPLY)

        assert REPLY == await carried

    asyncio.run(scenario())


def test_what_cannot_be_promised_is_said() -> None:
    """Whoever is not promised anything must not be told that he is."""

    async def scenario() -> None:
        edge = Edge()
        edge.sidecar.store_is_down = True
        with pytest.raises(NotPromised):
            await edge.carry(an_order(), Deadline(0))

    asyncio.run(scenario())


@pytest.mark.parametrize("is_down", [False, True])
def test_a_reply_that_comes_while_the_promise_is_written_is_the_answer(is_down: bool) -> None:
    """A fact is better than a promise, also than one that could not be written."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.store_is_down = is_down
        carried = asyncio.create_task(edge.carry(wanted, Deadline(0)))
        await edge.sidecar.was_published.wait()
        edge.held.settle(wanted.id, REPLY)

        assert REPLY == await carried

    asyncio.run(scenario())


def test_a_command_whose_refusal_is_written_down_is_refused_at_once() -> None:
    """A repeated request need not wait for what is known."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        refusal = Refusal(422, "key_reused", "reused")
        promised = Promised(wanted.id, wanted.topic, msgspec.Raw(b"null"), "refused", refusal)
        record = {"location": wanted.location, "changed_at": "2026-01-01T00:00:00Z", "commands": [promised]}
        edge.sidecar.put(f"promise:{ORDER}", msgspec.json.encode(record))

        with pytest.raises(Problem) as refused:
            await edge.carry(wanted, Deadline(0))
        assert (422, "key_reused") == (refused.value.status, refused.value.kind)

    asyncio.run(scenario())


@pytest.mark.parametrize("wait_seconds", [0, 0.4, 30])
def test_a_broker_that_blocks_publishing_delays_no_answer(wait_seconds: float) -> None:
    """Publishing, waiting, publishing again and writing the promise share one budget."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.publish_is_blocked = True
        began = asyncio.get_running_loop().time()

        assert await edge.carry(wanted, Deadline(wait_seconds)) is None
        assert asyncio.get_running_loop().time() - began < wait_seconds + ANSWER_SECONDS
        assert "pending" == edge.sidecar.read(f"promise:{ORDER}")["commands"][0]["outcome"]

    run_jumping(scenario())


@pytest.mark.parametrize("publish_is_blocked", [False, True])
def test_a_store_that_is_hung_delays_no_answer(publish_is_blocked: bool) -> None:
    """The caller is told in time that nothing is promised."""

    async def scenario() -> None:
        edge = Edge()
        edge.sidecar.store_is_hung = True
        edge.sidecar.publish_is_blocked = publish_is_blocked
        began = asyncio.get_running_loop().time()

        with pytest.raises(NotPromised):
            await edge.carry(an_order(), Deadline(0.1))
        assert asyncio.get_running_loop().time() - began < 0.1 + 1

    run_jumping(scenario())
