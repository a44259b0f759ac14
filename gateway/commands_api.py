"""The POST routes: each publishes one command and is held until its reply arrives."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

import msgspec
from fastapi import Request, Response

from gateway import bodies
from gateway.command import Command, build_command
from gateway.command_declarations import DEPOSIT, ORDER, REGISTER
from gateway.command_dispatcher import CommandDispatcher
from gateway.deadline import Deadline
from gateway.idempotency import IdempotencyKey, idempotency_key
from gateway.ids import resource_id
from gateway.known_users import ASK_SECONDS_MAX, KnownUsers
from gateway.pending_commands import NotRecorded, PendingCommands
from gateway.preferences import Preference, preference
from gateway.problems import Problem, not_found, unavailable
from gateway.replies import to_response
from sidecart.chassis.errors import TransientError

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = "1"


@dataclass(frozen=True, slots=True)
class CommandsApi:
    """Handlers of the POST routes."""

    dispatcher: CommandDispatcher
    known_users: KnownUsers
    pending_commands: PendingCommands

    async def register(self, request: Request) -> Response:
        """Register a user: 201 when created, 202 when pending, 409 when the address is taken."""
        key, preferred = _read_headers(request)
        body = await bodies.read(request, bodies.RegisterBody)
        deadline = Deadline(preferred.wait_seconds)
        user_id = resource_id(REGISTER.path, body.email.casefold(), key.key)
        command = build_command(REGISTER.command, user_id, f"/user/{user_id}", body.model_dump(), {"user_id": user_id})
        return await self._dispatch(key.sent, preferred, deadline, command, {"user_id": user_id})

    async def deposit(self, request: Request) -> Response:
        """Pay money in: 201 with the new balance, 202 when pending, 404 for an unknown user."""
        key, preferred = _read_headers(request)
        body = await bodies.read(request, bodies.DepositBody)
        deadline = Deadline(preferred.wait_seconds)
        await self._require_user(body.user_id, deadline)
        deposit_id = resource_id(DEPOSIT.path, body.user_id, key.key)
        location = f"/account/{body.user_id}/deposit/{deposit_id}"
        ids = {"deposit_id": deposit_id}
        command = build_command(DEPOSIT.command, deposit_id, location, body.model_dump(), ids)
        return await self._dispatch(
            key.sent, preferred, deadline, command, {"deposit_id": deposit_id, "user_id": body.user_id}
        )

    async def order(self, request: Request) -> Response:
        """Place an order: 201 when created, 202 when pending, 404 for an unknown user."""
        key, preferred = _read_headers(request)
        body = await bodies.read(request, bodies.OrderBody)
        deadline = Deadline(preferred.wait_seconds)
        await self._require_user(body.user_id, deadline)
        order_id = resource_id(ORDER.path, body.user_id, key.key)
        location = f"/order/{order_id}"
        command = build_command(ORDER.command, order_id, location, body.model_dump(), {"order_id": order_id})
        return await self._dispatch(
            key.sent, preferred, deadline, command, {"order_id": order_id, "user_id": body.user_id}
        )

    async def _require_user(self, user_id: str, deadline: Deadline) -> None:
        if await self.known_users.may_exist(user_id, deadline.share(ASK_SECONDS_MAX)):
            return
        # A caller with a 202 for this user must not get a 404. The command is not published either,
        # because the registration may still be rejected: the address may be taken.
        try:
            async with asyncio.timeout_at(deadline.answer_by):
                record = await self.pending_commands.find(f"/user/{user_id}")
        except (TransientError, TimeoutError) as fault:
            log.warning("cannot look up the pending registration of user %s: %s", user_id, fault)
            raise unavailable(f"cannot tell now whether user {user_id} is pending; try again") from fault
        if record is None or not (record.pending or record.is_confirmed):
            raise not_found(f"user {user_id}")
        if not record.is_confirmed:
            raise unavailable(f"user {user_id} is not registered yet, the registration is pending; try again")

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
        response = to_response(reply)
        if isinstance(response, Problem):
            raise response
        return _json(response.body, 201, headers)


def _read_headers(request: Request) -> tuple[IdempotencyKey, Preference]:
    """Read Idempotency-Key and Prefer."""
    return idempotency_key(request), preference(request.headers.getlist("prefer"))


def _json(body: bytes, status: int, headers: dict[str, str]) -> Response:
    return Response(body, status, headers, "application/json")
