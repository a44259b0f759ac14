"""The DELETE routes: each publishes the command that erases a person, and waits for its reply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from fastapi import Request, Response

from sidecart.chassis.audit_trail import AuditTrail
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.events import now
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.callers import Caller, Callers, forbidden
from sidecart.edge.command import Command, Deadline, build_command
from sidecart.edge.commands_api import RETRY_AFTER_SECONDS, Responses
from sidecart.edge.erasure_audit import audited
from sidecart.edge.held_requests import CommandDispatcher
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.personal_data import ErasureDeclaration
from sidecart.edge.preferences import DEFAULT, preference
from sidecart.edge.problems import Problem, not_found, unavailable
from sidecart.edge.queries_api import is_uuid

ASK_SECONDS_MAX = 2.0
UNKNOWN = "unknown (AUTH=off)"
"""The sender of a request without a token, in the audit trail."""


@dataclass(frozen=True, slots=True)
class ErasuresApi:
    """Handles the DELETE routes of an application."""

    sidecar: Sidecar
    dispatcher: CommandDispatcher
    responses: Responses
    known: KnownResources
    callers: Callers | None
    """None: every caller may erase any person (AUTH=off)."""
    audit: AuditTrail
    """It gets an entry of each erasure that the person did not request."""

    async def handle(self, declared: ErasureDeclaration, request: Request) -> Response:
        """Erase a person: 200 once the reply has arrived, 202 when pending, or a problem."""
        person = str(request.path_params[declared.resource])
        if self.callers is None:
            return await self._handle(declared, request, person, UNKNOWN)
        caller = await self.callers.of(request)
        require_own(caller, declared.resource, person)
        with self.callers.limits.hold(caller.id):
            return await self._handle(declared, request, person, "" if caller.id == person else caller.name)

    async def _handle(self, declared: ErasureDeclaration, request: Request, person: str, operator: str) -> Response:
        preferred = preference(request.headers.getlist("prefer")) if "prefer" in request.headers else DEFAULT
        deadline, path = Deadline(preferred.wait_seconds), request.url.path
        if not is_uuid(person):
            raise not_found(f"{path[:200]}: an id is a UUID in lower case")
        command = _command(
            declared, person, await self._body(declared, person, path, deadline), self.dispatcher.reply_to
        )
        if self.sidecar.store.write_refusal:
            raise unavailable("nothing was sent: the store refuses writes; try again")
        headers = {"Location": path}
        if preferred.applied:
            headers["Preference-Applied"] = preferred.applied
        erase = partial(self._dispatch, declared, person, command, deadline, headers)
        return await (audited(self.audit, operator, f"{declared.resource} {person}", erase) if operator else erase())

    async def _dispatch(
        self, declared: ErasureDeclaration, person: str, command: Command, deadline: Deadline, headers: dict[str, str]
    ) -> Response:
        try:
            reply = await self.dispatcher.dispatch(command, deadline, declared.flow)
        except NotRecorded as fault:
            detail = f"the request may still be carried out; repeat it ({fault})"
            raise Problem(503, "outcome-unknown", detail, headers={**headers, "Retry-After": "5"}) from fault
        if reply is None:
            body = msgspec.json.encode({declared.resource: person, "status": "accepted"})
            headers["Retry-After"] = RETRY_AFTER_SECONDS
            return Response(body, 202, headers, "application/json")
        response = self.responses.of(reply)
        if isinstance(response, Problem):
            raise response
        return Response(response.body, 200, headers, "application/json")

    async def _body(self, declared: ErasureDeclaration, person: str, path: str, deadline: Deadline) -> dict[str, Any]:
        """Return the command's data, from the service of the person; raise Problem 404 or 503."""
        location = declared.location.format_map({declared.resource: person})
        try:
            answer = await self.sidecar.invoke(declared.app_id, location, deadline.share(ASK_SECONDS_MAX))
        except SidecarUnavailable as fault:
            raise unavailable(f"the {declared.app_id} service does not answer; try again") from fault
        if answer.status == 404:
            await self.known.require(declared.app_id, path, deadline)  # 503 if it is pending, or 404
        if answer.status != 200:
            raise unavailable(f"the {declared.app_id} service does not answer; try again")
        try:
            found = msgspec.json.decode(answer.body, type=dict[str, Any])
            return {name: found[name] for name in declared.body.model_fields}
        except (ValueError, KeyError) as error:
            raise unavailable(f"the answer of the {declared.app_id} service is malformed") from error


def require_own(caller: Caller, resource: str, person: str) -> None:
    """Raise Problem 403 unless a caller is the person or an operator."""
    if not caller.is_operator and person != caller.id:
        raise forbidden(f"{resource} is not that of the token")


def _command(declared: ErasureDeclaration, person: str, body: dict[str, Any], reply_to: str) -> Command:
    """Build the command; its pending record is not that of the person, which is erased too."""
    ids = {declared.resource: person}
    made = build_command(declared.topic, person, "", body, ids, at=now(), reply_to=reply_to)
    location = f"{declared.location.format_map(ids)}/{made.id}"
    return Command(made.id, made.topic, location, made.event, person, flow=person)


@dataclass(frozen=True, slots=True)
class Forgetting:
    """Forgets what the gateway itself holds of an erased person, once the reply arrives."""

    pending_commands: PendingCommands
    known: KnownResources
    callers: Callers | None

    async def forget(self, declared: ErasureDeclaration, person: str) -> None:
        """Erase the pending record and the caches; raise TransientError."""
        path = declared.path.format_map({declared.resource: person})
        self.known.remove(path)
        if self.callers is not None:
            self.callers.forget_caller(person)
        await self.pending_commands.erase(person)
