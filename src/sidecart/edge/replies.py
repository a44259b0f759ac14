"""The events that answer commands, and the HTTP response that each leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import parse
from sidecart.edge.declarations import Application
from sidecart.edge.held_requests import HeldRequests, Reply
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.metrics import LATE_REPLIES
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_records import Rejection
from sidecart.edge.problems import Problem


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


class Replies:
    """Handles reply events.

    Most replies are for another replica or for a request that has been answered, so the data is
    decoded only if this replica needs it.
    """

    def __init__(
        self,
        application: Application,
        responses: Responses,
        held: HeldRequests,
        pending_commands: PendingCommands,
        known: KnownResources,
    ) -> None:
        self._responses = responses
        self._held = held
        self._pending_commands = pending_commands
        self._known = known
        self._creates_required = {command.success: command for command in application.required.values()}

    async def handle(self, topic: str, body: bytes) -> None:
        """Settle the held requests and the pending command that wait for this reply.

        Raise PermanentError for a malformed reply, which changes nothing.
        """
        envelope = parse(topic, body)
        reply = Reply(topic, envelope.data)
        is_pending = envelope.correlationid in self._pending_commands.resource_of
        if is_pending or self._held.is_waiting(envelope.correlationid):
            try:
                response = self._responses.of(reply)
            except ValueError as error:
                raise PermanentError("malformed reply", str(error)) from error
            if not self._held.is_waiting(envelope.correlationid):
                LATE_REPLIES.inc()
            rejection = (
                Rejection(response.status, response.kind, response.detail) if isinstance(response, Problem) else None
            )
            if is_pending:
                self._pending_commands.settle(envelope.correlationid, rejection)
            self._held.settle(envelope.correlationid, reply)
        command = self._creates_required.get(topic)
        if command is not None and envelope.subject:
            self._known.add(command.location.format(**{command.resource: envelope.subject}))
