"""The simulated gateways of one world: one, or several of which each has a reply address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from sidecart.chassis.reply_topics import REQUESTERS
from sidecart.edge.declarations import Application
from sidecart.edge.replicas import BEAT_SECONDS, LOST_SECONDS
from sidecart.launcher.topics import GATEWAY
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.gateway import Gateway
from sidecart.testkit.simulation.schedule import Schedule
from sidecart.testkit.simulation.sidecar import SimulatedSidecar
from sidecart.testkit.simulation.stores import Records

GATEWAYS = (1, 2, 3)
"""How many gateways a seed has, in turn."""
GONE = timedelta(seconds=LOST_SECONDS + BEAT_SECONDS)


class Gateways:
    """The gateways that run; each may restart, and all but one may be removed."""

    def __init__(
        self,
        seed: int,
        application: Application,
        schedule: Schedule,
        sidecar_of: Callable[[str], SimulatedSidecar],
        commands: Sequence[Command],
    ) -> None:
        names = REQUESTERS[: GATEWAYS[seed % len(GATEWAYS)]]
        self._is_addressed = len(names) > 1
        self._application = application
        self._schedule = schedule
        self._sidecar_of = sidecar_of
        self._commands = commands
        self._last_removal: datetime | None = None
        self.running = {name: self._new(name) for name in names}
        """The gateways by pod name."""

    def _new(self, name: str) -> Gateway:
        address = name if self._is_addressed else ""
        sidecar, clock = self._sidecar_of(GATEWAY), self._schedule.clock
        return Gateway(name, sidecar, self._application, clock, address, self._commands)

    def readers_of(self, topic: str) -> list[str]:
        """Return the gateways that read a topic."""
        return [name for name, gateway in self.running.items() if topic in gateway.handlers]

    def one(self) -> Gateway:
        """Return one of the running gateways."""
        return self._schedule.random.choice(list(self.running.values()))

    def restart(self, gateway: Gateway) -> None:
        """Start a gateway again after a crash, with an empty memory."""
        self.running[gateway.name] = self._new(gateway.name)

    def remove(self, gateway: Gateway) -> None:
        """Remove a gateway for ever; the last one restarts instead."""
        if len(self.running) == 1:
            self.restart(gateway)
        else:
            del self.running[gateway.name]
            self._last_removal = self._schedule.now

    def answer(self, commands: Sequence[Command], *, journals: bool) -> None:
        """Answer each caller whose reply has arrived where it waits; a crash undoes no answer."""
        for command in commands:
            if not command.answered and any(
                gateway.has_answer(command, journals=journals) for gateway in self.running.values()
            ):
                command.answered = True

    def are_at_rest(self, commands: Sequence[Command], records: Records) -> bool:
        """Return whether no flow and no pending command of an accepted request is unfinished."""
        return (
            all(gateway.journal.resumed and not gateway.journal.count for gateway in self.running.values())
            and all(self._knows_removals(gateway) for gateway in self.running.values())
            and all(is_settled(command, records) for command in commands if command.is_accepted)
            and not any(gateway.pending.count for gateway in self.running.values())
        )

    def _knows_removals(self, gateway: Gateway) -> bool:
        """Return whether a gateway has worked since those that were removed count as gone."""
        if self._last_removal is None:
            return True
        return gateway.worked_at is not None and gateway.worked_at > self._last_removal + GONE


def is_settled(command: Command, records: Records) -> bool:
    """Return whether the pending record of an accepted command has an outcome, or was erased."""
    value, _ = records[f"pending:{command.pending_under}"]
    outcomes = {each["id"]: each["outcome"] for each in msgspec.json.decode(value)["commands"]}
    return bool(outcomes.get(command.id) != "pending")
