"""One simulated gateway: the real journal, reconciler and pending commands, with their memory.

A crash loses the memory. Callers wait at a gateway, and its replies come through the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import cast

import msgspec

from sidecart.chassis.sidecar import Sidecar
from sidecart.edge import command as edge
from sidecart.edge.command import resource_of
from sidecart.edge.commands_api import Responses
from sidecart.edge.declarations import Application
from sidecart.edge.erasures_api import Forgetting
from sidecart.edge.flows import Flows
from sidecart.edge.held_requests import HeldRequests
from sidecart.edge.journal import Flow, Journal
from sidecart.edge.journal_recovery import adopt_from_lost, resume, tidy
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.pending_records import PendingCommand, PendingRecord
from sidecart.edge.pending_worker import PendingWorker, republisher
from sidecart.edge.reconciler import Reconciler
from sidecart.edge.replicas import Replicas
from sidecart.edge.replies import Replies
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.sidecar import SimulatedSidecar


class UnansweredCommands(PendingCommands):
    """Pending commands that need no records: a command without an answer is pending."""

    def __init__(self, sidecar: Sidecar, name: str, clock: Callable[[], datetime], commands: Sequence[Command]) -> None:
        super().__init__(sidecar, name, clock)
        self._clock = clock
        self._commands = commands

    async def find(self, location: str) -> PendingRecord | None:
        """Return a record of the commands of a location that have no answer, or None."""
        resource = resource_of(location)
        unanswered = [
            PendingCommand(each.id, each.topic, msgspec.Raw(each.body))
            for each in self._commands
            if each.resource == resource and each.attempts and not (each.answered or each.is_accepted)
        ]
        return PendingRecord(location, self._clock(), unanswered) if unanswered else await super().find(location)


class Gateway:
    """The gateway process; `reply_to` is its address, empty if it reads the shared topics."""

    def __init__(
        self,
        name: str,
        simulated: SimulatedSidecar,
        application: Application,
        clock: Callable[[], datetime],
        reply_to: str,
        commands: Sequence[Command],
    ) -> None:
        sidecar = cast(Sidecar, simulated)
        flows, self.name, self.reply_to = Flows(application), name, reply_to
        self.journal, self.pending = Journal(sidecar, name, clock), UnansweredCommands(sidecar, name, clock, commands)
        publish = republisher(sidecar, reply_to)
        self.reconciler = Reconciler(sidecar, self.journal, self.pending, flows, clock, publish)
        self._replicas = Replicas(sidecar, name, clock)
        self._worker = PendingWorker(self.pending, publish, self._replicas)
        self._held, self._waits = HeldRequests(), dict[str, ExitStack]()
        known = KnownResources(sidecar, self.pending)
        forgetting = Forgetting(self.pending, known, None)
        replies = Replies(application, Responses(application), self._held, self.pending, known, forgetting)
        self.handlers = replies.handlers(reply_to)
        """The topics that it reads, each with its handler."""
        self._kinds = flows.by_topic
        self._erasures = {each.topic for each in application.erasures}
        self._flows: dict[str, Flow] = {}  # by command id
        self._arrived: set[str] = set()
        self._settled: set[str] = set()
        self._seen: dict[str, int] = {}
        self._clock = clock
        self.worked_at: datetime | None = None
        """When its latest complete round of background tasks ended."""

    async def handle(self, topic: str, body: bytes) -> None:
        """Handle a reply."""
        await self.handlers[topic](body)

    async def work(self, takes_over: bool) -> None:
        """Run one round of the gateway's background tasks."""
        if not self.journal.resumed:
            self.reconciler.schedule_checks(await resume(self.journal))
        await self.journal.flush()
        await self._replicas.beat()
        await self.reconciler.step()
        await tidy(self.journal)
        if takes_over:
            await adopt_from_lost(self.journal, self._replicas, self._seen)
            self._settled = await self._worker.adopt_from_lost(self._settled)
        await self._work_on_pending()
        self.worked_at = self._clock()

    async def _work_on_pending(self) -> None:
        """Work on each pending command, whenever it is due."""
        if not self.pending.resumed:
            for resource in await self.pending.index.read():
                self.pending.tracking.track(resource)
            self.pending.set_resumed()
        for resource, tracked in list(self.pending.tracking.open.items()):
            if not tracked.busy:
                tracked.busy = 1
                await self._worker.work_on(resource, tracked)

    # --- Callers

    def accept(self, command: Command) -> None:
        """Hold a caller, and add its command to the journal before it is published."""
        kind = self._kinds.get(command.topic)
        if kind is not None:
            self._flows[command.id], _ = self.journal.add(kind.name, command.resource)
        if command.id not in self._waits:
            stack = self._waits[command.id] = ExitStack()
            reply = stack.enter_context(self._held.hold(command.id))
            reply.add_done_callback(lambda _: self._arrived.add(command.id))

    def has_answer(self, command: Command, *, journals: bool) -> bool:
        """Return whether a caller gets its answer: the reply is here, and the journal is saved."""
        return command.id in self._arrived and (not journals or self._has_written(command))

    async def record_as_pending(self, command: Command) -> None:
        """Record a held command as pending; its caller then gets a 202 and leaves."""
        if not self.pending.resumed:  # a 503, as below
            return
        event = command.addressed_to(self.reply_to)
        with suppress(NotRecorded):  # a 503: the caller repeats it
            # An erasure has a record of its own, because it erases that of its resource.
            command.pending_under = command.id if command.topic in self._erasures else command.resource
            location = f"/{command.pending_under}"
            await self.pending.add(edge.Command(command.id, command.topic, location, event))
            command.is_accepted = self._has_written(command)

    def _has_written(self, command: Command) -> bool:
        flow = self._flows.get(command.id)
        return command.topic not in self._kinds or (flow is not None and (flow.batch is not None or flow.ended))
