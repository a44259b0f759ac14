"""Reads: asked of the service that owns the resource, by invocation; a pending command answers for what is not there
yet.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from chassis.connections import Answer
from chassis.errors import SidecarUnavailable, TransientError
from chassis.sidecar import HttpSidecar
from gateway.command_declarations import COMMAND_PATHS
from gateway.deadline import Deadline
from gateway.flows import KINDS
from gateway.ids import is_uuid
from gateway.pending_commands import PendingCommands
from gateway.problems import Problem, method_not_allowed, not_found, unavailable
from gateway.reconciler import Reconciler

log = logging.getLogger(__name__)

READ_SECONDS_MAX = 2.0  # for the service; what is pending is looked up within a second more
OWNERS = {  # route -> app-id of the service that answers it, under the same path, and what its 200 is
    "/user/{id}": ("user", "user"),
    "/account/{id}": ("billing", "account"),
    "/account/{id}/deposit/{deposit_id}": ("billing", "deposit"),
    "/order/{id}": ("order", "order"),
    "/notification/{id}": ("notification", "notifications"),
}
KIND_OF_PATH = {f"/{kind.name}": kind for kind in KINDS.values()}


@dataclass(frozen=True, slots=True)
class QueriesApi:
    """Handlers of the GET routes."""

    sidecar: HttpSidecar
    pending_commands: PendingCommands
    reconciler: Reconciler

    async def read(self, app_id: str, request: Request) -> Response:
        """Return what the service knows; 202 for what is pending, 404 for what nobody knows, 503 when it is down."""
        path = request.url.path
        if path in COMMAND_PATHS:
            raise method_not_allowed("POST")
        if not all(is_uuid(value) for value in request.path_params.values()):
            raise not_found(f"{path[:200]}: an id is a UUID in lower case")
        deadline = Deadline(READ_SECONDS_MAX)
        answer = await self._ask(app_id, path, READ_SECONDS_MAX)
        if answer is not None and answer.status == 200:
            self._check_soon(path, answer)
            return _found(answer)
        try:
            async with asyncio.timeout_at(deadline.answer_by):
                record = await self.pending_commands.find(path)
        except (TransientError, TimeoutError) as fault:
            log.warning("what is pending of %s is not known: %s", path, fault)
            raise unavailable(f"whether {path} is pending is not known now; try again") from fault
        if record is None:
            if answer is not None and answer.status == 404:
                raise not_found(path)
            raise _unreachable(app_id)
        if record.is_confirmed:
            answer = await self._ask(app_id, path, deadline.left_to_answer)  # it was made after we asked
            if answer is None or answer.status != 200:
                raise _unreachable(app_id)
            return _found(answer)
        if record.pending:
            body = msgspec.json.encode({**_ids(path), "status": "accepted"})
            return Response(body, 202, {"Retry-After": "1"}, "application/json")
        raise record.rejection.problem()

    def _check_soon(self, path: str, answer: Answer) -> None:
        """A resource that is read while its flow has not ended is checked soon."""
        kind = KIND_OF_PATH.get(path.rpartition("/")[0])
        with suppress(ValueError):  # not the answer that the contract describes: the reader sees it as it is
            if kind is not None and kind.is_pending(answer.body):
                self.reconciler.check_soon(kind, path.rpartition("/")[2])

    async def _ask(self, app_id: str, path: str, seconds_max: float) -> Answer | None:
        try:
            answer = await self.sidecar.invoke(app_id, path, seconds_max)
        except SidecarUnavailable as fault:
            log.warning("read %s: %s", path, fault)
            return None
        if answer.status not in (200, 404):
            log.warning("read %s: %s", path, answer)
        return answer


def _ids(path: str) -> dict[str, str]:
    """The ids in a location, under the names that the 201 gives them."""
    match path.split("/")[1:]:
        case ["account", user_id, "deposit", deposit_id]:
            return {"deposit_id": deposit_id, "user_id": user_id}
        case ["order", order_id]:
            return {"order_id": order_id}
        case [_, user_id]:
            return {"user_id": user_id}
    raise AssertionError(f"no resource is at {path}")


def _found(answer: Answer) -> Response:
    return Response(answer.body, media_type="application/json")


def _unreachable(app_id: str) -> Problem:
    return unavailable(f"the {app_id} service does not answer; try again")
