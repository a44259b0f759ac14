"""Reply events: each settles the held requests and the pending command that wait for it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from functools import partial
from typing import Protocol

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import Envelope, parse
from sidecart.chassis.publishers import publishers_of, read_publishers
from sidecart.chassis.reply_topics import reply_topic
from sidecart.chassis.server.inbound import Handler
from sidecart.edge.commands_api import Responses
from sidecart.edge.declarations import Application
from sidecart.edge.held_requests import HeldRequests, Reply
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.metrics import LATE_REPLIES
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_records import Rejection
from sidecart.edge.personal_data import ErasureDeclaration
from sidecart.edge.problems import Problem


class Forgets(Protocol):
    """Forgets what the gateway holds of an erased person."""

    async def forget(self, declared: ErasureDeclaration, person: str) -> None:
        """Forget a person; raise TransientError."""


class Replies:
    """Handles reply events.

    Some replies are for another replica, or for a request that has been answered, so the data is
    decoded only if this replica needs it.
    """

    def __init__(
        self,
        application: Application,
        responses: Responses,
        held: HeldRequests,
        pending_commands: PendingCommands,
        known: KnownResources,
        forgets: Forgets,
    ) -> None:
        self._forgets = forgets
        self._erasures = {each.success: each for each in application.erasures}
        self._responses = responses
        self._held = held
        self._pending_commands = pending_commands
        self._known = known
        publishers = application.publishers or read_publishers(application.folder)
        self._publishers = publishers_of(responses.topics, publishers)
        self._creates_required = {command.success: command for command in application.required.values()}

    def handlers(self, reply_to: str) -> dict[str, Handler]:
        """Return the topics of this gateway's replies, each with its handler.

        They are the topics of all replies. A gateway with an address reads its reply topics
        instead, and the shared topics of erasures: each gateway must refuse an erased person.
        """
        if not reply_to:
            return {topic: partial(self.handle, topic) for topic in self._publishers}
        by_publisher: dict[str, set[str]] = defaultdict(set)
        for topic, publisher in self._publishers.items():
            by_publisher[publisher].add(topic)
        own = {reply_topic(reply_to, publisher): publisher for publisher in by_publisher}
        return {
            **{topic: partial(self.handle, topic) for topic in self._erasures},
            **{
                topic: partial(self._handle_addressed, topic, publisher, frozenset(by_publisher[publisher]))
                for topic, publisher in own.items()
            },
        }

    async def handle(self, topic: str, body: bytes) -> None:
        """Settle the held requests and the pending command that wait for this reply.

        Raise PermanentError for a malformed reply, which changes nothing, and TransientError if the
        data of an erased person is not erased yet.
        """
        await self._settle(parse(topic, body, self._publishers[topic]))

    async def _handle_addressed(self, topic: str, publisher: str, types: Set[str], body: bytes) -> None:
        """Settle as `handle` does; the event's type tells which reply it is."""
        await self._settle(parse(topic, body, publisher, types))

    async def _settle(self, envelope: Envelope) -> None:
        topic = envelope.type
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
        erasure = self._erasures.get(topic)
        if erasure is not None and envelope.subject:
            await self._forgets.forget(erasure, envelope.subject)
