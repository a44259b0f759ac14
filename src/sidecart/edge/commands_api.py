"""The POST routes: each publishes a command, and answers with the reply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from sidecart.chassis.events import now
from sidecart.chassis.store_health import StoreHealth
from sidecart.edge import bodies
from sidecart.edge.callers import Caller, Callers, forbidden
from sidecart.edge.command import Command, Deadline, build_command, key_owner, made_key
from sidecart.edge.declarations import Application, CommandDeclaration
from sidecart.edge.held_requests import CommandDispatcher, Reply
from sidecart.edge.idempotency import IdempotencyKey, idempotency_key
from sidecart.edge.key_secrets import KeySecrets
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import NotRecorded
from sidecart.edge.preferences import DEFAULT, Preference, preference
from sidecart.edge.problems import Problem, unavailable

RETRY_AFTER_SECONDS = "1"


@dataclass(frozen=True, slots=True)
class CommandsApi:
    """Handles the POST routes of an application."""

    application: Application
    dispatcher: CommandDispatcher
    responses: Responses
    known: KnownResources
    store: StoreHealth
    secrets: KeySecrets
    callers: Callers | None
    """None: the body names the caller (AUTH=off), and no caller has a limit."""

    async def handle(self, declared: CommandDeclaration, request: Request) -> Response:
        """Publish the declared command: 201 with its answer, 202 when pending, or a problem."""
        if self.callers is None:
            return await self._handle(declared, request, None)
        caller = await self.callers.of(request)
        with self.callers.limits.hold(caller.id):
            return await self._handle(declared, request, caller)

    async def _handle(self, declared: CommandDeclaration, request: Request, caller: Caller | None) -> Response:
        key, preferred = _headers(request)
        body = await bodies.read(request, declared.body, _identity(declared, caller))
        deadline = Deadline(preferred.wait_seconds)
        sent = body.model_dump(exclude_none=True)  # an optional field that is absent stays absent
        if declared.is_caller and caller is not None:
            resource = caller.id
        else:
            owner = sent[declared.owner] if caller is None else key_owner(caller.id, sent[declared.owner])
            resource = await self.secrets.resource_id(declared.path, owner, key.key)
        ids = {declared.resource: resource}
        if declared.requires is not None:
            ids[declared.requires] = sent[declared.requires]
            creator = self.application.required[declared.requires]
            path = creator.location.format_map(ids)
            if path not in self.known.paths:
                await self.known.require(self.application.query_of[creator.location].app_id, path, deadline)
        location = declared.location.format_map(ids)
        # A caller that is the resource itself owns it. The field of the body may be an address.
        names_owner = resource if declared.is_caller else sent[declared.owner]
        own_id = {declared.resource: resource}
        command = build_command(
            declared.topic,
            resource,
            location,
            sent,
            own_id,
            at=now(),
            owner=names_owner,
            reply_to=self.dispatcher.reply_to,
        )
        return await self._dispatch(declared, key.sent, preferred, deadline, command, ids)

    async def _dispatch(
        self,
        declared: CommandDeclaration,
        key: str,
        preferred: Preference,
        deadline: Deadline,
        command: Command,
        ids: dict[str, str],
    ) -> Response:
        # The command could not be recorded as pending; /readyz reports the reason.
        if self.store.write_refusal:
            raise unavailable("nothing was sent: the store refuses writes; try again")
        headers = {"Location": command.location}
        if preferred.applied:
            headers["Preference-Applied"] = preferred.applied
        try:
            reply = await self.dispatcher.dispatch(command, deadline, declared.flow)
        except NotRecorded as fault:
            raise Problem(
                503,
                "outcome-unknown",
                f"the request may still be carried out; repeat it with this Idempotency-Key ({fault})",
                headers={**headers, "Retry-After": "5", "Idempotency-Key": key},
            ) from fault
        if reply is None:
            headers["Retry-After"] = RETRY_AFTER_SECONDS
            return Response(msgspec.json.encode({**ids, "status": "accepted"}), 202, headers, "application/json")
        response = self.responses.of(reply)
        if isinstance(response, Problem):
            raise response
        return Response(response.body, 201, headers, "application/json")


def _identity(declared: CommandDeclaration, caller: Caller | None) -> Mapping[str, str]:
    """Return the fields of the body that the token decides; raise Problem 403."""
    if caller is None:
        return {}
    caller.require_scope(declared.scope)
    found = {name: caller.id if what == "id" else caller.address for name, what in declared.identity.items()}
    if "" in found.values():
        raise forbidden("the token has no verified address (its claim email_verified must be true)")
    return found


def _headers(request: Request) -> tuple[IdempotencyKey, Preference]:
    """Return the key of a request and its preference; most requests have neither header."""
    if "idempotency-key" in request.headers:
        key = idempotency_key(request.headers.getlist("idempotency-key"))
    else:
        generated = made_key()
        key = IdempotencyKey(generated, generated)
    return key, preference(request.headers.getlist("prefer")) if "prefer" in request.headers else DEFAULT


class _Rejected(msgspec.Struct, frozen=True):
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A 201 response: its body."""

    body: bytes


class Responses:
    """Turns the replies of an application into responses."""

    def __init__(self, application: Application) -> None:
        self._command_of = application.command_of_reply

    @property
    def topics(self) -> Sequence[str]:
        """The topics of all replies."""
        return list(self._command_of)

    def of(self, reply: Reply) -> Answer | Problem:
        """Decode a reply into a 201 response or a problem; raise ValueError if it is malformed."""
        command = self._command_of[reply.topic]
        if reply.topic == command.success:
            return Answer(msgspec.json.encode(msgspec.json.decode(reply.data, type=command.answer)))
        reason = msgspec.json.decode(reply.data, type=_Rejected).reason
        if reason not in command.problems:
            raise ValueError(f"{reply.topic} has the unknown reason {reason[:100]!r}")
        status, detail = command.problems[reason]
        return Problem(status, reason, detail)
