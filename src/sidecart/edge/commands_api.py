"""The POST routes: each publishes one command and is held until its reply arrives."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from sidecart.chassis.errors import TransientError
from sidecart.edge import bodies
from sidecart.edge.command import Command, build_command
from sidecart.edge.command_dispatcher import CommandDispatcher
from sidecart.edge.deadline import Deadline
from sidecart.edge.declarations import Application, CommandDeclaration
from sidecart.edge.idempotency import idempotency_key
from sidecart.edge.ids import resource_id
from sidecart.edge.known_resources import ASK_SECONDS_MAX, KnownResources
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.preferences import Preference, preference
from sidecart.edge.problems import Problem, not_found, unavailable
from sidecart.edge.replies import Responses

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"


@dataclass(frozen=True, slots=True)
class CommandsApi:
    """Handles the POST routes of an application."""

    application: Application
    dispatcher: CommandDispatcher
    responses: Responses
    known: KnownResources
    pending_commands: PendingCommands

    async def handle(self, declared: CommandDeclaration, request: Request) -> Response:
        """Publish the declared command: 201 with its answer, 202 when pending, or a problem."""
        key, preferred = idempotency_key(request), preference(request.headers.getlist("prefer"))
        body = await bodies.read(request, declared.body)
        deadline = Deadline(preferred.wait_seconds)
        sent = body.model_dump()
        resource = resource_id(declared.path, declared.owner(body), key.key)
        ids = {declared.resource: resource}
        if declared.requires is not None:
            ids[declared.requires] = sent[declared.requires]
            await self._require(declared.requires, sent[declared.requires], deadline)
        location = declared.locate(ids)
        command = build_command(declared.topic, resource, location, sent, {declared.resource: resource})
        return await self._dispatch(key.sent, preferred, deadline, command, ids)

    async def _require(self, name: str, id_: str, deadline: Deadline) -> None:
        creator = self.application.required[name]
        path = creator.locate({name: id_})
        app_id = self.application.query_of[creator.location].app_id
        if await self.known.may_exist(app_id, path, deadline.share(ASK_SECONDS_MAX)):
            return
        # A caller with a 202 for this resource must not get a 404. The command is not published
        # either, because the one that creates the resource may still be rejected.
        what = f"{app_id} {id_}"
        try:
            async with asyncio.timeout_at(deadline.answer_by):
                record = await self.pending_commands.find(path)
        except (TransientError, TimeoutError) as fault:
            log.warning("cannot look up the pending command of %s: %s", what, fault)
            raise unavailable(f"cannot tell now whether {what} is pending; try again") from fault
        if record is None or not (record.pending or record.is_confirmed):
            raise not_found(what)
        if not record.is_confirmed:
            raise unavailable(f"{what} does not exist yet, its command is pending; try again")

    async def _dispatch(
        self, key: str, preferred: Preference, deadline: Deadline, command: Command, ids: dict[str, str]
    ) -> Response:
        # The command could not be recorded as pending; /readyz reports the reason.
        if self.pending_commands.store_refuses:
            raise unavailable("nothing was sent: the store refuses writes; try again")
        headers = {"Location": command.location}
        if preferred.applied:
            headers["Preference-Applied"] = preferred.applied
        try:
            reply = await self.dispatcher.dispatch(command, deadline)
        except NotRecorded as fault:
            raise Problem(
                503,
                "outcome-unknown",
                f"the request may still be carried out; repeat it with this Idempotency-Key ({fault})",
                headers={**headers, "Retry-After": "5", "Idempotency-Key": key},
            ) from fault
        if reply is None:
            headers["Retry-After"] = RETRY_AFTER_SECONDS
            return _json(msgspec.json.encode({**ids, "status": "accepted"}), 202, headers)
        response = self.responses.of(reply)
        if isinstance(response, Problem):
            raise response
        return _json(response.body, 201, headers)


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status, headers, "application/json")
