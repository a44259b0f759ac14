"""Held requests: each reply reaches the requests that wait for it, and no others.

The dispatch of a command: publish, wait, publish again, record as pending.
"""

import asyncio

import msgspec
import pytest

from gateway.app import SHOP
from gateway.commands import ORDER as ORDER_COMMAND
from sidecart.chassis.errors import SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.events import now
from sidecart.chassis.server.serve import background
from sidecart.edge import held_requests
from sidecart.edge.command import ANSWER_SECONDS, Command, Deadline, build_command, command_id
from sidecart.edge.held_requests import CommandDispatcher, HeldRequests, Reply
from sidecart.edge.journal import Journal
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.pending_records import PendingCommand, Rejection
from sidecart.edge.problems import Problem
from tests.unit.edge.clock import run_jumping
from tests.unit.edge.fakes import FakeSidecar

FLOW = ORDER_COMMAND.flow
ORDER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
REPLY = Reply("OrderCreated", msgspec.Raw(b"{}"))


def an_order() -> Command:
    """Return a command that places an order."""
    body, ids = {"user_id": "u-1"}, {"order_id": ORDER}
    return build_command("OrderCreateRequested", ORDER, f"/order/{ORDER}", body, ids, at=now())


def test_all_requests_that_wait_for_a_command_get_its_reply() -> None:
    """One event answers two requests with the same key."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as first, held.hold("c-1") as second, held.hold("c-2") as other:
            held.settle("c-1", REPLY)

            assert (REPLY, REPLY) == (first.result(), second.result())
            assert not other.done()

    asyncio.run(scenario())


def test_a_finished_request_is_forgotten_and_a_late_reply_ignored() -> None:
    """Nothing remains of a request that ended without a reply."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1"):
            assert held.is_waiting("c-1")
        held.settle("c-1", REPLY)

        assert not held.is_waiting("c-1")

    asyncio.run(scenario())


def test_the_end_of_one_request_leaves_the_other_held() -> None:
    """The second request still gets the reply."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as second:
            with held.hold("c-1"):
                pass
            held.settle("c-1", REPLY)

            assert REPLY == second.result()

    asyncio.run(scenario())


def test_above_the_limit_a_request_is_503_until_another_one_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts requests, not commands."""
    monkeypatch.setattr(held_requests, "HELD_MAX", 2)

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1"):
            with held.hold("c-1"), pytest.raises(Problem) as refused, held.hold("c-2"):
                pass

            assert (503, "1") == (refused.value.status, refused.value.headers["Retry-After"])
            with held.hold("c-2"):
                pass

    asyncio.run(scenario())


def test_release_ends_current_and_future_waits() -> None:
    """A reply that arrived before the release stays."""

    async def scenario() -> None:
        held = HeldRequests()
        with held.hold("c-1") as answered, held.hold("c-2") as waiting:
            held.settle("c-1", REPLY)
            held.release()
            with held.hold("c-3") as late:
                held.settle("c-3", REPLY)

                assert (REPLY, None, None) == (answered.result(), waiting.result(), late.result())

    asyncio.run(scenario())


class Components:
    """The components of a gateway that process commands."""

    def __init__(self) -> None:
        self.sidecar = FakeSidecar()
        self.held = HeldRequests()
        self.pending_commands = PendingCommands(self.sidecar, "gateway-0", now)
        self.pending_commands._resumed.set()  # there is no earlier process
        self.journal = Journal(self.sidecar, "gateway-0", now)
        self.journal._resumed.set()  # there is no earlier process
        self.dispatcher = CommandDispatcher(
            self.sidecar, self.held, self.pending_commands, self.journal, SHOP.rejections
        )

    async def dispatch(self, sent_command: Command, deadline: Deadline) -> Reply | None:
        """Dispatch a command while the journal is being written."""
        async with background(self.journal.write()):
            return await self.dispatcher.dispatch(sent_command, deadline, FLOW)


def test_a_command_is_a_cloudevent_with_an_id_from_resource_and_body() -> None:
    """The id is also the correlation id; `ids` are in the data but not in the canonical body."""
    command = an_order()

    event = msgspec.json.decode(command.event)
    expected_id = command_id(ORDER, {"user_id": "u-1"})
    assert (expected_id, expected_id, expected_id) == (command.id, event["id"], event["correlationid"])
    assert ("1.0", "OrderCreateRequested", "gateway", ORDER) == (
        event["specversion"],
        event["type"],
        event["source"],
        event["subject"],
    )
    assert {"order_id": ORDER, "user_id": "u-1"} == event["data"]


def test_the_reply_ends_the_wait() -> None:
    """One publish and one reply leave no pending command."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        dispatched = asyncio.create_task(gateway.dispatch(sent_command, Deadline(30)))
        await gateway.sidecar.was_published.wait()
        gateway.held.settle(sent_command.id, REPLY)

        assert REPLY == await dispatched
        assert 1 == len(gateway.sidecar.published)
        assert sent_command.id not in gateway.pending_commands.resource_of

    asyncio.run(scenario())


def test_the_command_is_published_again_at_half_of_the_wait() -> None:
    """The broker may lose an event that it has confirmed."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()

        assert await gateway.dispatch(sent_command, Deadline(0.02)) is None
        assert [sent_command.id, sent_command.id] == [event["id"] for _, event in gateway.sidecar.published]

    run_jumping(scenario())


def test_the_write_of_the_pending_command_starts_at_half_of_the_wait() -> None:
    """A store that takes longer than the time after the wait causes no 503."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.store_seconds = 0.7

        assert await gateway.dispatch(sent_command, Deadline(5)) is None
        assert "pending" == gateway.sidecar.read(f"pending:{ORDER}")["commands"][0]["outcome"]

    run_jumping(scenario())


def test_a_repeated_request_finds_a_command_that_was_recorded_too_late_for_the_first() -> None:
    """The repeated request costs no write; only the pending command publishes the command."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.store_seconds = 0.7

        with pytest.raises(NotRecorded, match="in time"):
            await gateway.dispatch(sent_command, Deadline(0))
        await asyncio.sleep(10)
        saves = gateway.sidecar.saves.count(f"pending:{ORDER}")
        for _ in range(3):
            assert await gateway.dispatch(sent_command, Deadline(0)) is None
        assert (1, 1) == (saves, gateway.sidecar.saves.count(f"pending:{ORDER}"))
        assert 1 == len(gateway.sidecar.published)

    run_jumping(scenario())


def test_without_credit_a_twentieth_of_all_publishes_are_repetitions() -> None:
    """A stopped service does not double the load."""

    async def scenario() -> None:
        gateway = Components()
        gateway.dispatcher._credit = 0.0
        for number in range(20):
            command = build_command("OrderCreateRequested", ORDER, f"/order/{number}", {"number": number}, {}, at=now())
            assert await gateway.dispatch(command, Deadline(0.002)) is None

        assert 21 == len(gateway.sidecar.published)

    run_jumping(scenario())


def test_without_a_wait_the_command_is_pending_at_once() -> None:
    """A wait of 0 s, as for respond-async, records the command as pending."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()

        assert await gateway.dispatch(sent_command, Deadline(0)) is None
        assert "pending" == gateway.sidecar.read(f"pending:{ORDER}")["commands"][0]["outcome"]

    asyncio.run(scenario())


def test_an_unreachable_sidecar_is_503_and_no_pending_command() -> None:
    """Nothing was sent, so the caller can try again."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.publish_errors = [SidecarUnreachable("connection refused")]

        with pytest.raises(Problem) as refused:
            await gateway.dispatch(sent_command, Deadline(30))
        assert (503, "unavailable") == (refused.value.status, refused.value.kind)
        assert sent_command.id not in gateway.pending_commands.resource_of
        assert not gateway.held.is_waiting(sent_command.id)

    asyncio.run(scenario())


def test_after_a_publish_of_unknown_outcome_the_request_stays_held() -> None:
    """The event may have been sent, so its reply may arrive."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.publish_errors = [SidecarUnavailable("timed out")]
        dispatched = asyncio.create_task(gateway.dispatch(sent_command, Deadline(0.1)))
        await gateway.sidecar.was_published.wait()
        gateway.held.settle(sent_command.id, REPLY)

        assert REPLY == await dispatched

    asyncio.run(scenario())


def test_a_command_that_cannot_be_recorded_raises_not_recorded() -> None:
    """The caller must not get a 202 for it."""

    async def scenario() -> None:
        gateway = Components()
        gateway.sidecar.store_is_down = True
        with pytest.raises(NotRecorded):
            await gateway.dispatch(an_order(), Deadline(0))

    asyncio.run(scenario())


@pytest.mark.parametrize("is_down", [False, True])
def test_a_reply_during_the_write_of_the_pending_command_is_the_answer(is_down: bool) -> None:
    """The reply wins, even if the write of the pending command fails."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.store_is_down = is_down
        dispatched = asyncio.create_task(gateway.dispatch(sent_command, Deadline(0)))
        await gateway.sidecar.was_published.wait()
        gateway.held.settle(sent_command.id, REPLY)

        assert REPLY == await dispatched

    asyncio.run(scenario())


def test_a_command_with_a_stored_rejection_is_rejected_at_once() -> None:
    """A repeated request gets the stored rejection without a wait."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        rejection = Rejection(422, "key_reused", "reused")
        pending = PendingCommand(sent_command.id, sent_command.topic, msgspec.Raw(b"null"), "rejected", rejection)
        record = {"location": sent_command.location, "changed_at": "2026-01-01T00:00:00Z", "commands": [pending]}
        gateway.sidecar.put(f"pending:{ORDER}", msgspec.json.encode(record))

        with pytest.raises(Problem) as refused:
            await gateway.dispatch(sent_command, Deadline(0))
        assert (422, "key_reused") == (refused.value.status, refused.value.kind)

    asyncio.run(scenario())


@pytest.mark.parametrize("wait_seconds", [0, 0.4, 30])
def test_a_broker_that_blocks_publishing_delays_no_answer(wait_seconds: float) -> None:
    """Publishing, waiting, publishing again and recording share one time budget."""

    async def scenario() -> None:
        gateway, sent_command = Components(), an_order()
        gateway.sidecar.publish_is_blocked = True
        started_at = asyncio.get_running_loop().time()

        assert await gateway.dispatch(sent_command, Deadline(wait_seconds)) is None
        assert asyncio.get_running_loop().time() - started_at < wait_seconds + ANSWER_SECONDS
        assert "pending" == gateway.sidecar.read(f"pending:{ORDER}")["commands"][0]["outcome"]

    run_jumping(scenario())


@pytest.mark.parametrize("publish_is_blocked", [False, True])
def test_a_store_that_is_hung_delays_no_answer(publish_is_blocked: bool) -> None:
    """NotRecorded is raised within the deadline."""

    async def scenario() -> None:
        gateway = Components()
        gateway.sidecar.store_is_hung = True
        gateway.sidecar.publish_is_blocked = publish_is_blocked
        started_at = asyncio.get_running_loop().time()

        with pytest.raises(NotRecorded):
            await gateway.dispatch(an_order(), Deadline(0.1))
        assert asyncio.get_running_loop().time() - started_at < 0.1 + 1

    run_jumping(scenario())
