"""The POST routes: each publishes one command and is held until its reply arrives."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from sidecart.chassis.store_health import StoreHealth
from sidecart.edge import bodies
from sidecart.edge.command import Command, Deadline, build_command, made_key, resource_id
from sidecart.edge.declarations import Application, CommandDeclaration
from sidecart.edge.held_requests import CommandDispatcher
from sidecart.edge.idempotency import IdempotencyKey, idempotency_key
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import NotRecorded
from sidecart.edge.preferences import DEFAULT, Preference, preference
from sidecart.edge.problems import Problem, unavailable
from sidecart.edge.replies import Responses

RETRY_AFTER_SECONDS = "1"


@dataclass(frozen=True, slots=True)
class CommandsApi:
    """Handles the POST routes of an application."""

    application: Application
    dispatcher: CommandDispatcher
    responses: Responses
    known: KnownResources
    store: StoreHealth

    async def handle(self, declared: CommandDeclaration, request: Request) -> Response:
        """Publish the declared command: 201 with its answer, 202 when pending, or a problem."""
        key, preferred = _headers(request)
        body = await bodies.read(request, declared.body)
        deadline = Deadline(preferred.wait_seconds)
        sent = body.model_dump()
        resource = resource_id(declared.path, sent[declared.owner], key.key)
        ids = {declared.resource: resource}
        if declared.requires is not None:
            ids[declared.requires] = sent[declared.requires]
            creator = self.application.required[declared.requires]
            path = creator.location.format_map(ids)
            if path not in self.known.paths:
                await self.known.require(self.application.query_of[creator.location].app_id, path, deadline)
        location = declared.location.format_map(ids)
        command = build_command(declared.topic, resource, location, sent, {declared.resource: resource})
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


def _headers(request: Request) -> tuple[IdempotencyKey, Preference]:
    """Return the key of a request and its preference; most requests have neither header."""
    if "idempotency-key" in request.headers:
        key = idempotency_key(request.headers.getlist("idempotency-key"))
    else:
        generated = made_key()
        key = IdempotencyKey(generated, generated)
    return key, preference(request.headers.getlist("prefer")) if "prefer" in request.headers else DEFAULT
