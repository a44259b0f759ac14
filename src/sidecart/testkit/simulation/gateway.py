"""The simulated gateway: the real journal and reconciler, with the memory that a crash loses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import cast

import msgspec

from sidecart.chassis.sidecar import HttpSidecar
from sidecart.edge.command import resource_of
from sidecart.edge.flows import Flows
from sidecart.edge.journal import Flow, Journal
from sidecart.edge.journal_recovery import resume, tidy
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_records import PendingCommand, PendingRecord
from sidecart.edge.reconciler import Reconciler
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.sidecar import SimulatedSidecar

NAME = "gateway-0"


class UnansweredCommands(PendingCommands):
    """Pending commands that need no records: a command without an answer is pending."""

    def __init__(self, sidecar: HttpSidecar, clock: Callable[[], datetime], commands: Sequence[Command]) -> None:
        super().__init__(sidecar, NAME, clock)
        self._clock = clock
        self._commands = commands

    async def find(self, location: str) -> PendingRecord | None:
        """Return a record of the commands of a location that have no answer, or None."""
        resource = resource_of(location)
        unanswered = [
            PendingCommand(each.id, each.topic, msgspec.Raw(each.body))
            for each in self._commands
            if each.resource == resource and each.attempts and not each.answered
        ]
        return PendingRecord(location, self._clock(), unanswered) if unanswered else await super().find(location)


class Gateway:
    """The gateway process."""

    def __init__(
        self, simulated: SimulatedSidecar, flows: Flows, clock: Callable[[], datetime], commands: Sequence[Command]
    ) -> None:
        sidecar = cast(HttpSidecar, simulated)
        self.journal = Journal(sidecar, NAME, clock)
        pending_commands = UnansweredCommands(sidecar, clock, commands)
        self.reconciler = Reconciler(sidecar, self.journal, pending_commands, flows, clock)
        self._kinds = flows.by_topic
        self._flows: dict[str, Flow] = {}  # by command id

    async def work(self) -> None:
        """Run one round of the gateway's background tasks."""
        if not self.journal.resumed:
            self.reconciler.schedule_checks(await resume(self.journal))
        await self.journal.flush()
        await self.reconciler.step()
        await tidy(self.journal)

    def accept(self, command: Command) -> None:
        """Add the command to the journal before it is published."""
        kind = self._kinds.get(command.topic)
        if kind is not None:
            self._flows[command.id], _ = self.journal.add(kind.name, command.resource)

    def has_written(self, command: Command) -> bool:
        """Return whether the journal has saved the command; the caller may then get an answer."""
        flow = self._flows.get(command.id)
        return command.topic not in self._kinds or (flow is not None and (flow.batch is not None or flow.ended))
