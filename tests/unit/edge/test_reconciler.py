"""The reconciler checks flows, forgets the ended ones, and repeats the commands of the others."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from gateway.app import SHOP
from gateway.commands import OrderBody, RegisterBody
from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.events import timestamp
from sidecart.edge import journal_recovery, metrics
from sidecart.edge import reconciler as module
from sidecart.edge.command import build_command
from sidecart.edge.flows import Flows
from sidecart.edge.journal import RETENTION_SECONDS, Journal
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.reconciler import Reconciler
from sidecart.edge.replicas import Replicas
from tests.unit.edge.fakes import FakeSidecar, until

FLOWS = Flows(SHOP)
USER, ORDER_FLOW = FLOWS.by_name["user"], FLOWS.by_name["order"]
USER_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
ORDER_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
ORDER_BODY = {"user_id": USER_ID, "items": [{"sku": "tea", "quantity": 2, "unit_price_cents": 450}]}
ORDER = {"order_id": ORDER_ID, **ORDER_BODY, "amount_cents": 900, "status": "payment_pending"}


class Components:
    """The reconciler of a gateway, with a clock and services that the test controls."""

    def __init__(self) -> None:
        self.sidecar = FakeSidecar()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.unfinished: dict[str, set[str]] = {}  # by app-id
        self.found: dict[str, Any] = {f"/order/{ORDER_ID}": ORDER}
        self.down: set[str] = set()
        self.sidecar.answer = self.answer
        self.journal = Journal(self.sidecar, "gateway-0", lambda: self.now)
        pending_commands = PendingCommands(self.sidecar, "gateway-0", lambda: self.now)
        self.reconciler = Reconciler(self.sidecar, self.journal, pending_commands, FLOWS, lambda: self.now)

    def answer(self, app_id: str, path: str) -> Answer:
        """Answer an invocation."""
        if app_id in self.down:
            raise SidecarUnavailable(app_id)
        if not path.startswith("/unfinished/"):
            found = self.found.get(path)
            return Answer(404, b"{}") if found is None else Answer(200, msgspec.json.encode(found))
        ids = path.split("/")[3].split(",")
        left = [each for each in ids if each in self.unfinished.get(app_id, set())]
        return Answer(200, msgspec.json.encode({"unfinished": left}))

    async def step(self, seconds: float = module.CHECK_SECONDS) -> None:
        """Advance the clock and run one step of the reconciler."""
        self.now += timedelta(seconds=seconds)
        await self.reconciler.step()

    @property
    def published(self) -> list[str]:
        """The ids of the published commands."""
        return [str(event["id"]) for _, event in self.sidecar.published]


def run(scenario: Any) -> None:
    """Run one scenario."""
    asyncio.run(scenario(Components()))


def test_a_flow_that_has_ended_is_forgotten_and_nothing_is_published() -> None:
    """One call to each service covers all flows that are due."""

    async def scenario(gateway: Components) -> None:
        gateway.journal.add("user", USER_ID)
        gateway.journal.add("order", ORDER_ID)
        await gateway.step(module.CHECK_SECONDS - 1)
        assert [] == gateway.sidecar.invoked
        await gateway.step(1)

        assert {
            f"billing/unfinished/user/{USER_ID}",
            f"notification/unfinished/user/{USER_ID}",
            f"notification/unfinished/order/{ORDER_ID}",
        } == set(gateway.sidecar.invoked)
        assert (0, []) == (gateway.journal.count, gateway.published)

    run(scenario)


def test_a_check_includes_the_flows_that_are_due_soon() -> None:
    """One call covers the flows of seconds; one that has not ended is repeated at its own time."""

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.journal.add("order", USER_ID)
        await gateway.step(module.EARLY_SECONDS)
        gateway.journal.add("order", ORDER_ID)
        await gateway.step(module.EARLY_SECONDS)

        assert [f"notification/unfinished/order/{USER_ID},{ORDER_ID}"] == gateway.sidecar.invoked
        assert (1, []) == (gateway.journal.count, gateway.published)
        await gateway.step(module.EARLY_SECONDS - 1)
        assert [] == gateway.published
        await gateway.step(1)
        assert 1 == len(gateway.published)

    run(scenario)


def test_the_command_of_an_unfinished_flow_is_published_again_with_its_id() -> None:
    """The command is rebuilt from the owner's answer.

    The reconciler repeats it with back-off until the flow ends.
    """

    async def scenario(gateway: Components) -> None:
        body = OrderBody.model_validate(ORDER_BODY).model_dump(exclude_none=True)
        ids = {"order_id": ORDER_ID}
        expected = build_command("OrderCreateRequested", ORDER_ID, f"/order/{ORDER_ID}", body, ids, at=gateway.now)
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.journal.add("order", ORDER_ID)
        await gateway.step()
        assert [expected.id] == gateway.published
        repeated = gateway.sidecar.published[0][1]
        assert msgspec.json.decode(expected.event)["data"] == repeated["data"]
        assert timestamp(gateway.now) == repeated["time"]
        await gateway.step()
        await gateway.step()
        assert 2 == len(gateway.published)  # 10 s after the first, then 20 s
        await gateway.step()
        assert 3 == len(gateway.published)
        gateway.unfinished.clear()
        await gateway.step(40)

        assert (0, 3) == (gateway.journal.count, len(gateway.published))

    run(scenario)


def test_a_registration_ends_at_billing_and_notification() -> None:
    """The flow is open while either service reports it as unfinished."""

    async def scenario(gateway: Components) -> None:
        body = RegisterBody.model_validate({"email": "Ann@example.com", "name": "Ann"}).model_dump(exclude_none=True)
        ids = {"user_id": USER_ID}
        expected = build_command("UserCreateRequested", USER_ID, f"/user/{USER_ID}", body, ids, at=gateway.now)
        gateway.found[f"/user/{USER_ID}"] = {"user_id": USER_ID, "email": "Ann@example.com", "name": "Ann"}
        for app_id in ("billing", "notification"):
            gateway.unfinished = {app_id: {USER_ID}}
            gateway.journal.add("user", USER_ID)
            await gateway.step()
            assert expected.id == gateway.published.pop()
            gateway.sidecar.published.clear()
            gateway.unfinished = {}
            await gateway.step()
            assert 0 == gateway.journal.count

    run(scenario)


@pytest.mark.parametrize("down", ["notification", "order"])
def test_an_unreachable_service_is_asked_again(down: str) -> None:
    """Without an answer no command is published."""

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.down.add(down)
        gateway.journal.add("order", ORDER_ID)
        await gateway.step()
        assert (1, []) == (gateway.journal.count, gateway.published)
        gateway.down.clear()
        await gateway.step(module.RETRY_SECONDS)

        assert 1 == len(gateway.published)

    run(scenario)


def test_a_flow_without_a_resource_is_forgotten_unless_a_command_is_pending() -> None:
    """A rejected command created nothing; a pending one may still create the resource."""

    async def scenario(gateway: Components) -> None:
        gateway.found.clear()
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.journal.add("order", ORDER_ID)
        pending = {"id": USER_ID, "topic": "OrderCreateRequested", "event": {}, "outcome": "pending"}
        record = {"location": f"/order/{ORDER_ID}", "changed_at": "2026-01-01T00:00:00Z", "commands": [pending]}
        gateway.sidecar.put(f"pending:{ORDER_ID}", msgspec.json.encode(record))
        await gateway.step(module.GONE_SECONDS + 1)
        assert 1 == gateway.journal.count
        del gateway.sidecar.records[f"pending:{ORDER_ID}"]
        await gateway.step(2 * module.GONE_SECONDS)

        assert (0, []) == (gateway.journal.count, gateway.published)

    run(scenario)


def test_a_step_repeats_a_limited_number_of_commands() -> None:
    """A service that was down meets no burst; later steps repeat the rest."""

    async def scenario(gateway: Components) -> None:
        ids = [f"0192f0c1-2a3b-7c4d-8e5f-60718293a4{number:02}" for number in range(10, 15)]
        gateway.found = {f"/order/{each}": ORDER for each in ids}
        gateway.unfinished["notification"] = set(ids)
        for each in ids:
            gateway.journal.add("order", each)
        await gateway.step()
        assert 2 == len(gateway.published)
        await gateway.step(module.STEP_SECONDS)
        await gateway.step(module.STEP_SECONDS)

        assert 5 == len(set(gateway.published))

    run(scenario)


def test_more_commands_are_repeated_when_flows_end() -> None:
    """The shop loses events, but it is not slow."""

    async def scenario(gateway: Components) -> None:
        ids = [f"0192f0c1-2a3b-7c4d-8e5f-60718293a4{number:02}" for number in range(10, 40)]
        gateway.found = {f"/order/{each}": ORDER for each in ids}
        gateway.unfinished["notification"] = set(ids[15:])
        for each in ids:
            gateway.journal.add("order", each)
        await gateway.step()

        assert module.REPEATS_STEP + 15 * module.REPEATS_SHARE == len(gateway.published)

    run(scenario)


def test_a_read_of_a_pending_order_triggers_an_early_check() -> None:
    """The order may be unknown to this replica. Many reads cause one check in ten seconds."""

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.reconciler.check_soon(ORDER_FLOW, ORDER_ID)
        await gateway.step()
        assert 1 == len(gateway.published)
        for _ in range(6):
            await gateway.step()
        published = len(gateway.published)
        for _ in range(10):
            gateway.reconciler.check_soon(ORDER_FLOW, ORDER_ID)
            await gateway.step(0.1)

        assert published + 1 == len(gateway.published)

    run(scenario)


def test_reconcile_checks_all_flows_now_and_returns_the_stuck_ones() -> None:
    """Flows younger than CHECK_SECONDS are skipped, because they are still under way."""

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.journal.add("order", ORDER_ID)
        assert [] == await gateway.reconciler.reconcile()
        gateway.now += timedelta(seconds=module.CHECK_SECONDS)
        (flow,) = await gateway.reconciler.reconcile()

        assert (ORDER_ID, 1) == (flow.resource, len(gateway.published))
        assert [flow] == gateway.reconciler.stuck()

    run(scenario)


def test_a_flow_is_abandoned_after_a_week() -> None:
    """It is counted and logged, and its command is not published again."""

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gateway.journal.add("order", ORDER_ID)
        abandoned = metrics.ABANDONED.labels("order")._value.get()
        await gateway.step(RETENTION_SECONDS + 1)

        assert (0, []) == (gateway.journal.count, gateway.published)
        assert abandoned + 1 == metrics.ABANDONED.labels("order")._value.get()

    run(scenario)


def test_the_first_replica_checks_the_flows_of_a_replica_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal of the other replica is in the store. Each of its flows is adopted once."""
    monkeypatch.setattr(journal_recovery, "OTHERS_SECONDS", 0.001)

    async def scenario(gateway: Components) -> None:
        gateway.unfinished["notification"] = {ORDER_ID}
        gone = Journal(gateway.sidecar, "gateway-3", lambda: gateway.now)
        gone.add("order", ORDER_ID)
        await gone.flush()
        replicas = Replicas(gateway.sidecar, "gateway-1", lambda: gateway.now)
        adopting = asyncio.create_task(journal_recovery.adopt_from_other_replicas(gateway.journal, replicas))
        await until(lambda: gateway.journal.count == 1)
        adopting.cancel()
        await gateway.step()

        assert 1 == len(gateway.published)

    run(scenario)


def test_a_command_is_not_rebuilt_from_an_incomplete_answer() -> None:
    """A missing field is an error, and does not give another command."""
    for kind in FLOWS.by_name.values():
        with pytest.raises(ValueError, match="lacks"):
            kind.command(ORDER_ID, b"{}", datetime(2026, 1, 1, tzinfo=UTC))
