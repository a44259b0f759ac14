"""Each route of the operator's view asks for the operator before anything else."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import httpx
import pytest
from starlette.applications import Starlette

from sidecart.edge.callers import forbidden
from sidecart.launcher.audit import Operator
from sidecart.monitor.lag import Lag, LagPoll
from sidecart.monitor.operator_api import OperatorApi
from sidecart.monitor.operators import Operators
from sidecart.monitor.page_state import PageState
from tests.unit.launcher.test_dead_letters import FakeState
from tests.unit.monitor.described import DESCRIPTION

ID = "019bc104-dd14-7cc5-8058-a566ee2e7ad6"


class Someone(Operators):
    """Accepts or refuses every request."""

    def __init__(self, *, is_operator: bool) -> None:
        super().__init__(None, "boss")
        self._is_operator = is_operator

    async def check(self, request: Any) -> Operator:
        """Return the operator, or raise Problem 403."""
        if not self._is_operator:
            raise forbidden("no operator")
        return await super().check(request)


class NoLag(LagPoll):
    """Nothing waits."""

    def __init__(self) -> None:
        """Ask no broker."""

    async def read(self) -> Lag:
        """Return nothing."""
        return Lag()


def api(state: FakeState, *, is_operator: bool) -> OperatorApi:
    """Return the routes for a state."""
    page_state = PageState({}, DESCRIPTION, lambda _kind, _body: None, lambda: 0.0)
    return OperatorApi(Someone(is_operator=is_operator), state, page_state, [], NoLag(), lambda: None)


def filled() -> FakeState:
    """Return the state with one dead letter."""
    state = FakeState()
    event = json.dumps({"id": ID, "type": "OrderPaid"})
    state.put("order", "dead-index:0", {"ids": [ID]})
    state.put("order", f"dead:{ID}", {"topic": "OrderPaid", "reason": "why", "event": event})
    return state


def ask(made: OperatorApi, method: str, path: str) -> httpx.Response:
    """Send one request."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=made.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.request(method, path)
            await made.group_run.close()
            return answer

    return asyncio.run(run())


ROUTES = [
    (next(iter(route.methods - {"HEAD"})), route.path)
    for route in api(filled(), is_operator=True).routes()
    if route.methods
]
FILLED = {"service": "order", "letter_id": ID, "action": "discard", "group": "none", "id": ID}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_each_route_needs_an_operator(method: str, path: str) -> None:
    """Without the role it answers 403, reads nothing and changes nothing; with it, 200."""
    state = filled()
    before = dict(state.stored)
    filled_path = path.format_map(FILLED)

    refused = ask(api(state, is_operator=False), method, filled_path)

    assert (403, before) == (refused.status_code, state.stored)
    accepted = ask(api(state, is_operator=True), method, filled_path)
    assert (200, "no-store") == (accepted.status_code, accepted.headers["cache-control"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/dead-letters/order/{ID}/erase", 404),
        (f"/dead-letters/gateway/{ID}/replay", 404),
        ("/dead-letters/order/other/replay", 409),
        ("/operator/groups/x/erase", 404),
    ],
)
def test_an_unknown_action_or_letter_is_refused(path: str, status: int) -> None:
    """Nothing is audited, because nothing happens."""
    state = filled()
    before = dict(state.stored)

    assert (status, before) == (ask(api(state, is_operator=True), "POST", path).status_code, state.stored)


def test_the_audit_trail_is_paged() -> None:
    """A page ends before the number that the request names."""
    state = filled()
    for _ in range(3):
        state.put(
            "order", f"dead:{ID}", cast(dict[str, str], state.load("order", f"dead:{ID}")[0]) | {"status": "open"}
        )
        assert 200 == ask(api(state, is_operator=True), "POST", f"/dead-letters/order/{ID}/discard").status_code

    def numbers(query: str) -> list[int]:
        answer = ask(api(state, is_operator=True), "GET", f"/operator/audit-trail{query}")
        return [each["number"] for each in answer.json()["entries"]]

    assert [2, 1, 0] == numbers("") == numbers("?before=x") == numbers("?before=99999999999999")
    assert [0] == numbers("?before=1")
