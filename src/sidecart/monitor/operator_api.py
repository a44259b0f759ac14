"""The routes of the operator's view: dead letters, the audit trail, flows by id, lag.

`_route` is the only way to add one: it asks `Operators` before anything else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sidecart.edge.problems import Problem
from sidecart.launcher.audit import Operator, newest_entries
from sidecart.launcher.dead_letter_runs import ACTIONS
from sidecart.launcher.dead_letters import State
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.flow_trace import trace_flow
from sidecart.launcher.record_keys import RecordKey
from sidecart.launcher.topics import service_ids
from sidecart.monitor.dead_letters import act
from sidecart.monitor.gateway_proxy import problem
from sidecart.monitor.group_run import GroupRun
from sidecart.monitor.lag import LagPoll
from sidecart.monitor.operators import Operators
from sidecart.monitor.page_state import PageState

Handler = Callable[[Request, Operator], Awaitable[Any]]
ENTRIES_SHOWN = 50
GROUP_ACTION = "/operator/groups/{group}/{action}"


class OperatorApi:
    """Handles the requests of operators; each answer is JSON."""

    def __init__(
        self,
        operators: Operators,
        state: State,
        page_state: PageState,
        records: Sequence[RecordKey],
        lag: LagPoll,
        changed: Callable[[], None],
    ) -> None:
        self._operators = operators
        self._state = state
        self._page_state = page_state
        self._records = records
        self._lag = lag
        self._changed = changed
        self.group_run = GroupRun(state, page_state.set_group_run, changed)

    def routes(self) -> list[Route]:
        """Return all routes."""
        return [
            self._route("/dead-letters/{service}/{letter_id}/{action}", self._act_on_letter, "POST"),
            self._route(GROUP_ACTION, self._act_on_group, "POST"),
            self._route("/operator/stop", self._stop, "POST"),
            self._route("/operator/me", self._me),
            self._route("/operator/dead-letters", self._dead_letters),
            self._route("/operator/audit-trail", self._audit_trail),
            self._route("/operator/flows/{id}", self._flow),
            self._route("/operator/lag", self._read_lag),
        ]

    def _route(self, path: str, handler: Handler, method: str = "GET") -> Route:
        """Return a route that answers operators only."""

        async def handle(request: Request) -> Response:
            try:
                operator = await self._operators.check(request)
                answer = await handler(request, operator)
            except LaunchError as error:
                return problem(409, str(error))
            except Problem as refusal:
                return refusal.response()
            body = msgspec.json.encode(answer)
            return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

        return Route(path, handle, methods=[method])

    async def _me(self, _request: Request, operator: Operator) -> Any:
        return asdict(operator)

    async def _act_on_letter(self, request: Request, operator: Operator) -> Any:
        where = request.path_params
        if where["action"] not in ACTIONS or where["service"] not in service_ids():
            raise Problem(404, "not_found", "a dead letter of a service can be replayed or discarded")
        try:
            outcome = await asyncio.to_thread(
                act, self._state, where["service"], where["letter_id"], where["action"], operator
            )
        finally:
            self._changed()
        return {"outcome": outcome}

    async def _act_on_group(self, request: Request, operator: Operator) -> Any:
        where = request.path_params
        if where["action"] not in ACTIONS:
            raise Problem(404, "not_found", "a group of dead letters can be replayed or discarded")
        return await self.group_run.start(where["action"], where["group"], operator)

    async def _stop(self, _request: Request, _operator: Operator) -> Any:
        self.group_run.stop()
        return {}

    async def _dead_letters(self, _request: Request, _operator: Operator) -> Any:
        return self._page_state.dead_letters

    async def _audit_trail(self, request: Request, _operator: Operator) -> Any:
        text = request.query_params.get("before", "")
        before = int(text) if text.isdecimal() and len(text) < 10 else None
        return {"entries": await asyncio.to_thread(newest_entries, self._state, before, ENTRIES_SHOWN)}

    async def _flow(self, request: Request, _operator: Operator) -> Any:
        id_ = request.path_params["id"]
        found = await asyncio.to_thread(trace_flow, self._state, self._records, id_)
        return {"trace": found, "seen": self._page_state.history_of(id_)}

    async def _read_lag(self, _request: Request, _operator: Operator) -> Any:
        return await self._lag.read()
