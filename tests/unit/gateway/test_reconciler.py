"""The reconciler: asks, forgets what has ended, repeats the command of what has not."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from chassis.connections import Answer
from chassis.errors import SidecarAway
from gateway import metrics
from gateway import reconciler as module
from gateway.bodies import OrderBody, RegisterBody
from gateway.command import command
from gateway.flows import KINDS, ORDER_FLOW, USER
from gateway.journal import KEPT_SECONDS, Journal
from gateway.promises import Promises
from gateway.reconciler import Reconciler
from tests.unit.gateway.fakes import FakeSidecar, until

USER_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
ORDER_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
ORDER_BODY = {"user_id": USER_ID, "items": [{"sku": "tea", "quantity": 2, "unit_price_cents": 450}]}
ORDER = {"order_id": ORDER_ID, **ORDER_BODY, "amount_cents": 900, "status": "payment_pending"}


class Edge:
    """A gateway's reconciler, with a clock that moves and services that answer as told."""

    def __init__(self) -> None:
        self.sidecar = FakeSidecar()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.unfinished: dict[str, set[str]] = {}  # by app-id
        self.found: dict[str, Any] = {f"/order/{ORDER_ID}": ORDER}
        self.down: set[str] = set()
        self.sidecar.answer = self.answer
        self.journal = Journal(self.sidecar, "gateway-0", lambda: self.now)
        promises = Promises(self.sidecar, "gateway-0", lambda: self.now)
        self.reconciler = Reconciler(self.sidecar, self.journal, promises, lambda: self.now)

    def answer(self, app_id: str, path: str) -> Answer:
        """Answer an invocation."""
        if app_id in self.down:
            raise SidecarAway(app_id)
        if not path.startswith("/unfinished/"):
            found = self.found.get(path)
            return Answer(404, b"{}") if found is None else Answer(200, msgspec.json.encode(found))
        ids = path.split("/")[3].split(",")
        left = [each for each in ids if each in self.unfinished.get(app_id, set())]
        return Answer(200, msgspec.json.encode({"unfinished": left}))

    async def step(self, seconds: float = module.CHECK_SECONDS) -> None:
        """Let time pass, and work."""
        self.now += timedelta(seconds=seconds)
        await self.reconciler.step()

    @property
    def published(self) -> list[str]:
        """The ids of the commands that were published."""
        return [str(event["id"]) for _, event in self.sidecar.published]


def run(scenario: Any) -> None:
    """Play a scenario at one gateway."""
    asyncio.run(scenario(Edge()))


def test_a_flow_that_has_ended_is_forgotten_and_nothing_is_published() -> None:
    """One question to each service at which its kind ends, for all that are due."""

    async def scenario(edge: Edge) -> None:
        edge.reconciler.begin(USER, USER_ID)
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        await edge.step(module.CHECK_SECONDS - 1)
        assert [] == edge.sidecar.invoked
        await edge.step(1)

        assert {
            f"billing/unfinished/user/{USER_ID}",
            f"notification/unfinished/user/{USER_ID}",
            f"notification/unfinished/order/{ORDER_ID}",
        } == set(edge.sidecar.invoked)
        assert (0, []) == (edge.journal.count, edge.published)

    run(scenario)


def test_the_command_of_a_flow_that_has_not_ended_is_published_again_under_its_own_id() -> None:
    """Built from what the owner answers; then with back-off until the flow has ended."""

    async def scenario(edge: Edge) -> None:
        body = OrderBody.model_validate(ORDER_BODY).model_dump()
        wanted = command("OrderCreateRequested", ORDER_ID, f"/order/{ORDER_ID}", body, {"order_id": ORDER_ID})
        edge.unfinished["notification"] = {ORDER_ID}
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        await edge.step()
        assert [wanted.id] == edge.published
        assert msgspec.json.decode(wanted.event)["data"] == edge.sidecar.published[0][1]["data"]
        await edge.step()
        await edge.step()
        assert 2 == len(edge.published)  # 10 s after the first, then 20 s
        await edge.step()
        assert 3 == len(edge.published)
        edge.unfinished.clear()
        await edge.step(40)

        assert (0, 3) == (edge.journal.count, len(edge.published))

    run(scenario)


def test_a_registration_ends_at_billing_and_at_notification() -> None:
    """Either of them keeps it open."""

    async def scenario(edge: Edge) -> None:
        body = RegisterBody.model_validate({"email": "Ann@example.com", "name": "Ann"}).model_dump()
        wanted = command("UserCreateRequested", USER_ID, f"/user/{USER_ID}", body, {"user_id": USER_ID})
        edge.found[f"/user/{USER_ID}"] = {"user_id": USER_ID, "email": "Ann@example.com", "name": "Ann"}
        for app_id in ("billing", "notification"):
            edge.unfinished = {app_id: {USER_ID}}
            edge.reconciler.begin(USER, USER_ID)
            await edge.step()
            assert wanted.id == edge.published.pop()
            edge.sidecar.published.clear()
            edge.unfinished = {}
            await edge.step()
            assert 0 == edge.journal.count

    run(scenario)


@pytest.mark.parametrize("down", ["notification", "order"])
def test_a_service_that_cannot_be_asked_is_asked_again(down: str) -> None:
    """Nothing is published on a guess."""

    async def scenario(edge: Edge) -> None:
        edge.unfinished["notification"] = {ORDER_ID}
        edge.down.add(down)
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        await edge.step()
        assert (1, []) == (edge.journal.count, edge.published)
        edge.down.clear()
        await edge.step(module.RETRY_SECONDS)

        assert 1 == len(edge.published)

    run(scenario)


def test_what_the_owner_does_not_know_is_forgotten_after_a_while_unless_a_pending_command_makes_it() -> None:
    """A rejected command made nothing; a promised one may yet."""

    async def scenario(edge: Edge) -> None:
        edge.found.clear()
        edge.unfinished["notification"] = {ORDER_ID}
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        pending = {"id": USER_ID, "topic": "OrderCreateRequested", "event": {}, "outcome": "pending"}
        record = {"location": f"/order/{ORDER_ID}", "changed_at": "2026-01-01T00:00:00Z", "commands": [pending]}
        edge.sidecar.put(f"promise:{ORDER_ID}", msgspec.json.encode(record))
        await edge.step(module.GONE_SECONDS + 1)
        assert 1 == edge.journal.count
        del edge.sidecar.records[f"promise:{ORDER_ID}"]
        await edge.step(2 * module.GONE_SECONDS)

        assert (0, []) == (edge.journal.count, edge.published)

    run(scenario)


def test_no_more_than_so_many_commands_are_repeated_in_a_step() -> None:
    """A service that was away finds no storm; the others follow."""

    async def scenario(edge: Edge) -> None:
        ids = [f"0192f0c1-2a3b-7c4d-8e5f-60718293a4{number:02}" for number in range(10, 15)]
        edge.found = {f"/order/{each}": ORDER for each in ids}
        edge.unfinished["notification"] = set(ids)
        for each in ids:
            edge.reconciler.begin(ORDER_FLOW, each)
        await edge.step()
        assert 2 == len(edge.published)
        await edge.step(module.STEP_SECONDS)
        await edge.step(module.STEP_SECONDS)

        assert 5 == len(set(edge.published))

    run(scenario)


def test_where_flows_end_more_commands_are_repeated() -> None:
    """The shop loses events, but it is not slow."""

    async def scenario(edge: Edge) -> None:
        ids = [f"0192f0c1-2a3b-7c4d-8e5f-60718293a4{number:02}" for number in range(10, 40)]
        edge.found = {f"/order/{each}": ORDER for each in ids}
        edge.unfinished["notification"] = set(ids[15:])
        for each in ids:
            edge.reconciler.begin(ORDER_FLOW, each)
        await edge.step()

        assert module.REPEATS_STEP + 15 * module.REPEATS_SHARE == len(edge.published)

    run(scenario)


def test_a_reader_of_a_pending_order_hurries_its_check() -> None:
    """Also of one that this replica has no memory of; once in ten seconds, however often it is read."""

    async def scenario(edge: Edge) -> None:
        edge.unfinished["notification"] = {ORDER_ID}
        edge.reconciler.nudge(ORDER_FLOW, ORDER_ID)
        await edge.step()
        assert 1 == len(edge.published)
        for _ in range(6):
            await edge.step()
        published = len(edge.published)
        for _ in range(10):
            edge.reconciler.nudge(ORDER_FLOW, ORDER_ID)
            await edge.step(0.1)

        assert published + 1 == len(edge.published)

    run(scenario)


def test_reconcile_checks_everything_now_and_says_what_is_stuck() -> None:
    """Except for what began just now, which is under way."""

    async def scenario(edge: Edge) -> None:
        edge.unfinished["notification"] = {ORDER_ID}
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        assert [] == await edge.reconciler.reconcile()
        edge.now += timedelta(seconds=module.CHECK_SECONDS)
        (flow,) = await edge.reconciler.reconcile()

        assert (ORDER_ID, 1) == (flow.resource, len(edge.published))
        assert [flow] == edge.reconciler.stuck()

    run(scenario)


def test_a_flow_is_given_up_after_a_week() -> None:
    """It is counted and logged; its command is not published for ever."""

    async def scenario(edge: Edge) -> None:
        edge.unfinished["notification"] = {ORDER_ID}
        edge.reconciler.begin(ORDER_FLOW, ORDER_ID)
        given_up = metrics.ABANDONED["order"]._value.get()
        await edge.step(KEPT_SECONDS + 1)

        assert (0, []) == (edge.journal.count, edge.published)
        assert given_up + 1 == metrics.ABANDONED["order"]._value.get()

    run(scenario)


def test_the_first_replica_checks_what_a_replica_that_is_gone_has_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its journal is in the store; a flow of it is taken up once."""
    monkeypatch.setattr(module, "OTHERS_SECONDS", 0.001)

    async def scenario(edge: Edge) -> None:
        edge.unfinished["notification"] = {ORDER_ID}
        gone = Journal(edge.sidecar, "gateway-3", lambda: edge.now)
        gone.begin("order", ORDER_ID)
        await gone.flush()
        looking = asyncio.create_task(edge.reconciler.look_after_others("gateway-0"))
        await until(lambda: edge.journal.count == 1)
        looking.cancel()
        await edge.step()

        assert 1 == len(edge.published)

    run(scenario)


def test_each_kind_can_build_its_command_from_the_answer_that_the_contract_promises() -> None:
    """A field that is missing is an error, not another command; each kind is counted."""
    assert set(metrics.FLOWS) == set(KINDS)
    for kind in KINDS.values():
        with pytest.raises(ValueError, match="lacks"):
            kind.command(ORDER_ID, b"{}")
