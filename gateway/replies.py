"""The events that answer commands, and the HTTP response that each leads to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from gateway.command_declarations import DEPOSIT, ORDER, REGISTER
from gateway.held_requests import HeldRequests, Reply
from gateway.known_users import KnownUsers
from gateway.metrics import LATE_REPLIES
from gateway.pending_commands import PendingCommands
from gateway.pending_records import Rejection
from gateway.problems import Problem
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import parse


class UserCreated(msgspec.Struct, frozen=True):
    """A user was registered."""

    user_id: str
    email: str
    name: str


class AccountDeposited(msgspec.Struct, frozen=True):
    """Money was paid in."""

    deposit_id: str
    user_id: str
    balance_cents: int


class OrderCreated(msgspec.Struct, frozen=True):
    """An order was placed."""

    order_id: str
    user_id: str
    items: msgspec.Raw
    amount_cents: int


class Rejected(msgspec.Struct, frozen=True):
    """A command was rejected."""

    reason: Literal["email_taken", "key_reused", "balance_limit"]


class OrderAnswer(msgspec.Struct, frozen=True):
    """The body of the 201 for an order."""

    order_id: str
    user_id: str
    items: msgspec.Raw
    amount_cents: int
    status: str = "payment_pending"


@dataclass(frozen=True, slots=True)
class Answer:
    """A 201 response: its body."""

    body: bytes


def _user(data: msgspec.Raw) -> Answer:
    return Answer(msgspec.json.encode(msgspec.json.decode(data, type=UserCreated)))


def _deposit(data: msgspec.Raw) -> Answer:
    return Answer(msgspec.json.encode(msgspec.json.decode(data, type=AccountDeposited)))


def _order(data: msgspec.Raw) -> Answer:
    order = msgspec.json.decode(data, type=OrderCreated)
    return Answer(msgspec.json.encode(OrderAnswer(order.order_id, order.user_id, order.items, order.amount_cents)))


def _rejection(data: msgspec.Raw) -> Problem:
    match msgspec.json.decode(data, type=Rejected).reason:
        case "email_taken":
            return Problem(409, "email_taken", "another user has this e-mail address")
        case "balance_limit":
            return Problem(409, "balance_limit", "the balance would exceed the limit of 999999999999 cents")
        case "key_reused":
            return Problem(422, "key_reused", "this Idempotency-Key was used with another body; choose a new key")


RESPONSES: Mapping[str, Callable[[msgspec.Raw], Answer | Problem]] = {
    REGISTER.success: _user,
    REGISTER.rejection: _rejection,
    DEPOSIT.success: _deposit,
    DEPOSIT.rejection: _rejection,
    ORDER.success: _order,
    ORDER.rejection: _rejection,
}


def to_response(reply: Reply) -> Answer | Problem:
    """Decode a reply into a 201 response or a problem."""
    return RESPONSES[reply.topic](reply.data)


class Replies:
    """Handles reply events.

    Most replies are for another replica or for a request that has been answered, so the data is
    decoded only if this replica needs it.
    """

    def __init__(self, held: HeldRequests, pending_commands: PendingCommands, known_users: KnownUsers) -> None:
        self._held = held
        self._pending_commands = pending_commands
        self._known_users = known_users

    async def handle(self, topic: str, body: bytes) -> None:
        """Settle the held requests and the pending command that wait for this reply.

        Raise PermanentError for a malformed reply, which changes nothing.
        """
        envelope = parse(topic, body)
        reply = Reply(topic, envelope.data)
        if self._held.is_waiting(envelope.correlationid) or self._pending_commands.is_pending(envelope.correlationid):
            try:
                response = to_response(reply)
            except ValueError as error:
                raise PermanentError("malformed reply", str(error)) from error
            if not self._held.is_waiting(envelope.correlationid):
                LATE_REPLIES.inc()
            rejection = (
                Rejection(response.status, response.kind, response.detail) if isinstance(response, Problem) else None
            )
            self._pending_commands.settle(envelope.correlationid, rejection)
            self._held.settle(envelope.correlationid, reply)
        if topic == REGISTER.success and envelope.subject:
            self._known_users.add(envelope.subject)
