"""Carrying a command through: publish, wait, publish once more, promise."""

import asyncio

import msgspec
import pytest

from chassis.errors import SidecarAway, Unreached
from gateway import promises as promises_module
from gateway.commands import Commands, command
from gateway.held import Held, Reply
from gateway.ids import command_id
from gateway.problems import Problem
from gateway.promises import Command, Promises
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
        self.promises = Promises(self.sidecar)
        self.commands = Commands(self.sidecar, self.held, self.promises)


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
        carried = asyncio.create_task(edge.commands.carry(wanted, 30))
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

        assert await edge.commands.carry(wanted, 0.02) is None
        assert [wanted.id, wanted.id] == [event["id"] for _, event in edge.sidecar.published]
        await edge.promises.close()

    asyncio.run(scenario())


def test_publishing_again_is_a_twentieth_of_all_publishes_once_the_credit_is_gone() -> None:
    """A stopped service does not double the load."""

    async def scenario() -> None:
        edge = Edge()
        edge.commands._credit = 0.0
        for number in range(20):
            body = {"number": number}
            assert await edge.commands.carry(command("OrderCreateRequested", ORDER, "/", body, {}), 0.002) is None

        assert 21 == len(edge.sidecar.published)
        await edge.promises.close()

    asyncio.run(scenario())


def test_without_a_wait_the_command_is_promised_at_once() -> None:
    """respond-async is wait=0."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()

        assert await edge.commands.carry(wanted, 0) is None
        assert edge.promises.promised(f"/order/{ORDER}")
        await edge.promises.close()

    asyncio.run(scenario())


def test_nothing_handed_over_is_503_and_no_promise() -> None:
    """The caller may simply try again."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.publish_errors = [Unreached("connection refused")]

        with pytest.raises(Problem) as refused:
            await edge.commands.carry(wanted, 30)
        assert (503, "unavailable") == (refused.value.status, refused.value.kind)
        assert not edge.promises.is_pending(wanted.id)
        assert not edge.held.is_waiting(wanted.id)

    asyncio.run(scenario())


def test_a_publish_of_unknown_result_stays_held_and_is_tried_again() -> None:
    """It may have been sent, so its reply may come."""

    async def scenario() -> None:
        edge, wanted = Edge(), an_order()
        edge.sidecar.publish_errors = [SidecarAway("timed out")]
        carried = asyncio.create_task(edge.commands.carry(wanted, 0.1))
        await edge.sidecar.was_published.wait()
        edge.held.settle(wanted.id, REPLY)

        assert REPLY == await carried

    asyncio.run(scenario())


def test_a_promise_too_many_is_503_outcome_unknown_with_the_location(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever cannot be promised anything is told where to look and what to repeat."""
    monkeypatch.setattr(promises_module, "PROMISES_MAX", 0)

    async def scenario() -> None:
        with pytest.raises(Problem) as refused:
            await Edge().commands.carry(an_order(), 0)

        assert (503, "outcome-unknown") == (refused.value.status, refused.value.kind)
        assert f"/order/{ORDER}" == refused.value.headers["Location"]

    asyncio.run(scenario())
