"""The GET routes: the gateway reads each resource from its owner, by service invocation.

While a resource does not exist yet, its pending command answers.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import Request, Response

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import SidecarUnavailable, TransientError
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.callers import Caller, Callers, forbidden
from sidecart.edge.command import Deadline
from sidecart.edge.declarations import QueryDeclaration
from sidecart.edge.flows import Flows
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_records import PendingRecord
from sidecart.edge.problems import Problem, method_not_allowed, not_found, unavailable
from sidecart.edge.reconciler import Reconciler

log = logging.getLogger(__name__)

AGAIN_AFTER_SECONDS = (0.1, 0.2, 0.4)
"""The pauses before a read is repeated that no service answered.

A stopping app ends before its sidecar. For about a third of a second the gateway's sidecar still
has a connection to that one.
"""
NO_SERVICE = b'{"errorCode":"ERR_DIRECT_INVOKE"'
"""How the sidecar's own error begins, with the status 500."""
READ_SECONDS_MAX = 2.0  # for the service; the lookup of the pending record has one second more


@dataclass(frozen=True, slots=True)
class QueriesApi:
    """Handlers of the GET routes."""

    sidecar: Sidecar
    pending_commands: PendingCommands
    reconciler: Reconciler
    flows: Flows
    command_paths: Set[str]
    callers: Callers | None
    """None: every caller may read everything (AUTH=off)."""

    async def read(self, query: QueryDeclaration, request: Request) -> Response:
        """Return the resource, or 202 if it is pending.

        Raise Problem 401 or 403 for a caller who may not read it, the stored rejection of its
        command, Problem 404 for an unknown resource, or Problem 503 if the service or the store
        does not answer.
        """
        path, app_id = request.url.path, query.app_id
        if path in self.command_paths:
            raise method_not_allowed("POST")
        reader = await self._reader(query, request)
        if not all(is_uuid(value) for value in request.path_params.values()):
            raise not_found(f"{path[:200]}: an id is a UUID in lower case")
        deadline = Deadline(READ_SECONDS_MAX)
        answer = await self._ask(app_id, path, READ_SECONDS_MAX)
        if answer is not None and answer.status == 200:
            _check_owner(query, answer, reader, path)
            self._check_soon(path, answer)
            return _found(answer)
        record = await self._pending(path, deadline)
        if record is None:
            answer = await self._ask_again(app_id, path, answer, deadline)
            if answer is not None and answer.status == 404:
                raise not_found(path)
            return _found_by(answer, query, reader, app_id, path)
        if reader is not None and query.owner not in query.parameters and record.owner != reader.id:
            raise not_found(path)
        if record.is_confirmed:
            # The service created the resource after the first read.
            answer = await self._ask(app_id, path, deadline.left_to_answer)
            answer = await self._ask_again(app_id, path, answer, deadline)
            return _found_by(answer, query, reader, app_id, path)
        if record.pending:
            ids = dict(reversed(request.path_params.items()))  # the resource's own id first, as after a POST
            body = msgspec.json.encode({**ids, "status": "accepted"})
            return Response(body, 202, {"Retry-After": "1"}, "application/json")
        raise record.rejection.problem()

    async def _pending(self, path: str, deadline: Deadline) -> PendingRecord | None:
        """Return the record of the pending command of a path, or None; raise Problem 503."""
        try:
            async with asyncio.timeout_at(deadline.answer_by):
                return await self.pending_commands.find(path)
        except (TransientError, TimeoutError) as fault:
            log.warning("cannot look up the pending command of %s: %s", path, fault)
            raise unavailable(f"cannot tell now whether {path} is pending; try again") from fault

    async def _reader(self, query: QueryDeclaration, request: Request) -> Caller | None:
        """Return the caller if it may read its own resources only; None if it may read all.

        Raise Problem 403 if the path names another caller.
        """
        if self.callers is None or query.is_public:
            return None
        caller = await self.callers.of(request)
        if caller.is_operator or query.scope in caller.scopes:
            return None
        if request.path_params.get(query.owner, caller.id) != caller.id:
            raise forbidden(f"{query.owner} is not that of the token")
        return caller

    def _check_soon(self, path: str, answer: Answer) -> None:
        """Schedule an early check of a flow that has not ended when its resource is read."""
        kind = self.flows.of_path(path)
        with suppress(ValueError):  # an answer outside the contract: the caller gets it unchanged
            if kind is not None and kind.is_pending(answer.body):
                self.reconciler.check_soon(kind, path.rpartition("/")[2])

    async def _ask_again(self, app_id: str, path: str, answer: Answer | None, deadline: Deadline) -> Answer | None:
        """Ask again a moment later if the sidecars found no service; return the last answer."""
        for pause in AGAIN_AFTER_SECONDS:
            is_from_sidecars = answer is not None and answer.status == 500 and answer.body.startswith(NO_SERVICE)
            if not is_from_sidecars or deadline.left_to_answer < pause:
                break
            await asyncio.sleep(pause)
            answer = await self._ask(app_id, path, deadline.left_to_answer)
        return answer

    async def _ask(self, app_id: str, path: str, seconds_max: float) -> Answer | None:
        try:
            answer = await self.sidecar.invoke(app_id, path, seconds_max)
        except SidecarUnavailable as fault:
            log.warning("read %s: %s", path, fault)
            return None
        if answer.status not in (200, 404):
            log.warning("read %s: %s", path, answer)
        return answer


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID in canonical form: lower case, with hyphens."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _check_owner(query: QueryDeclaration, answer: Answer, reader: Caller | None, path: str) -> None:
    """Raise Problem 404 if the resource belongs to another caller: its existence is secret too."""
    if reader is None or query.owner in query.parameters:
        return
    if msgspec.json.decode(answer.body, type=dict[str, Any]).get(query.owner) != reader.id:
        raise not_found(path)


def _found_by(
    answer: Answer | None, query: QueryDeclaration, reader: Caller | None, app_id: str, path: str
) -> Response:
    """Return the resource of an answer; raise Problem 503 without one, or 404 for another owner."""
    if answer is None or answer.status != 200:
        raise _unreachable(app_id)
    _check_owner(query, answer, reader, path)
    return _found(answer)


def _found(answer: Answer) -> Response:
    return Response(answer.body, media_type="application/json")


def _unreachable(app_id: str) -> Problem:
    return unavailable(f"the {app_id} service does not answer; try again")
