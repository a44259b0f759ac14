"""Simulates a store with ETags, a lossy broker and process crashes around the real services.

The real reconciler of the gateway runs too. Every call of a service waits for the schedule, which
executes the calls in a sequence that the seed decides. These faults happen:

- A call takes effect and its response is lost, or the call is refused.
- A process dies before or after a call.
- A publish vanishes together with the acknowledgement of the event whose handling published it.
- A publish vanishes alone, after the broker confirmed it.
- The broker loses all events that it holds.
- An event arrives twice, late, or at any replica.
- The store of one service refuses writes for a time.
- A gateway restarts, or is removed while others run; callers repeat their commands at any of them.

After the faults the broker delivers all events, and the reconciler checks the accepted commands
until no work is left. `checks.py` then checks the invariants of any project.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.launcher.topics import GATEWAY
from sidecart.testkit.simulation.broker import Broker, Command
from sidecart.testkit.simulation.gateway import Gateway
from sidecart.testkit.simulation.gateways import Gateways
from sidecart.testkit.simulation.processes import TIMER, MakeProcessor, Processes
from sidecart.testkit.simulation.project import Project
from sidecart.testkit.simulation.schedule import ALL, Delivery, Faults, Schedule
from sidecart.testkit.simulation.sidecar import SimulatedSidecar
from sidecart.testkit.simulation.stores import Stores

ATTEMPTS_MAX = 50
CHECK_PAUSE = timedelta(seconds=20)  # the clock advances by this when only a check is left
REPLICAS = 2
REMOVED_SHARE = 0.3  # of the gateways that die; the others restart
STEPS_MAX = 20_000  # of one seed; a world that needs more will never come to rest


@dataclass(frozen=True, slots=True)
class Setup:
    """The faults of a world, and its safeguards, each of which can be left out."""

    faults: Faults = ALL
    make_processor: MakeProcessor = SpeculativeProcessor
    honours_etags: bool = True
    heals: bool = True
    """Whether the reconciler runs."""
    journals: bool = True
    """Whether a caller waits until the journal has the command."""
    replicas: int = REPLICAS
    takes_over: bool = True
    """Whether a gateway works for those that are gone."""


class World:
    """The simulated world of one seed."""

    def __init__(self, project: Project, seed: int, commands: Sequence[Command], setup: Setup) -> None:
        self.commands = commands
        self.wipes = 0
        """How often the broker lost all of its events."""
        self._apps = project.apps
        self._setup = setup
        self._schedule = Schedule(seed, setup.faults)
        self._stores = Stores(seed, self._schedule, list(project.apps), [GATEWAY], setup.honours_etags)
        self._broker = Broker(self._schedule, project.consumers, project.replies, commands)
        self._wires = {name: app.program.wire for name, app in project.apps.items()}
        # Callers repeat answered commands, or leave all repair to the project.
        self._repeats = seed // 4 % 2 == 0
        self._gateways = Gateways(seed, project.application, self._schedule, self._sidecar_of, commands)
        self._broker.gateways_of = self._gateways.readers_of
        self._processes = Processes(
            project,
            self._schedule,
            self._broker,
            self._sidecar_of,
            setup.make_processor,
            setup.replicas,
            self._gateways,
        )

    @property
    def stores(self) -> dict[str, dict[str, tuple[bytes, int]]]:
        """The records of each app by key, each with its version."""
        return self._stores.by_app

    @property
    def writes(self) -> list[tuple[str, str, bytes]]:
        """Every write of a record in sequence: app, key and value."""
        return self._stores.writes

    @property
    def writes_refused(self) -> int:
        """The number of writes that a store refused."""
        return self._stores.writes_refused

    @property
    def published(self) -> dict[str, list[dict[str, Any]]]:
        """The published events by topic."""
        return self._broker.published

    @property
    def announced(self) -> dict[str, list[dict[str, Any]]]:
        """The published events and the copies for one gateway, by type.

        The broker may lose either of the two. If only a gateway reads the type, none repairs that.
        """
        copies = self._broker.copies
        return {topic: self.published[topic] + copies[topic] for topic in {*self.published, *copies}}

    @property
    def side_effects(self) -> Counter[str]:
        """The number of effects on servers outside the project, by id."""
        return self._processes.side_effects

    @property
    def dead_letters(self) -> list[str]:
        """The topic and the reason of each event that a service rejected as permanently broken."""
        return self._processes.dead_letters

    # --- The run

    def run(self) -> None:
        """Execute steps until the world is at rest; raise AssertionError if it never is."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        while self._schedule.steps < STEPS_MAX:
            self._schedule.steps += 1
            self._gateways.answer(self.commands, journals=self._setup.journals)
            if not self._step():
                if self._processes.in_flight:  # these tasks are about to make their next call or to end
                    await asyncio.sleep(0)
                    continue
                if not self._retry_at_rest() and not self._check_at_rest():
                    return
            await asyncio.sleep(0)
        raise AssertionError(f"not at rest after {STEPS_MAX} steps")

    def _step(self) -> bool:
        """Execute one step; return False if no step is possible."""
        schedule = self._schedule
        if schedule.is_faulty:
            schedule.pass_time()
            if self._harm():
                return True
        unsent = [command for command in self.commands if not command.attempts]
        if unsent and schedule.happens(0.3):
            self._send(schedule.random.choice(unsent))
            return True
        if schedule.is_faulty and self._repeats and self.commands and schedule.happens(0.02):
            self._send(schedule.random.choice(self.commands))
            return True
        if schedule.strikes(0.05) and self._start_gateway_work():
            return True
        if self._setup.heals and schedule.strikes(0.01) and self._end_a_wait():
            return True
        if self._processes.has_room and schedule.happens(0.4):
            return self._processes.start_next()
        return schedule.execute_one() or self._processes.start_next()

    def _harm(self) -> bool:
        """Draw one of the faults that hit the broker or a whole process."""
        schedule = self._schedule
        if schedule.happens(schedule.faults.wiped):
            self._broker.queue.clear()
            self.wipes += 1
            return True
        if schedule.happens(schedule.faults.death):
            gateway = self._gateways.one()
            self._processes.interrupt(gateway)
            change = self._gateways.remove if schedule.happens(REMOVED_SHARE) else self._gateways.restart
            change(gateway)
            return True
        if schedule.happens(schedule.faults.death):
            self._processes.kill_one()
            return True
        return False

    def _retry_at_rest(self) -> bool:
        """At rest, make timed work due, or repeat the commands that have no answer."""
        for name, app in self._apps.items():
            if app.has_timed_work(self.stores[name]):
                self._schedule.now += app.timer_pause
                self._broker.queue.append(Delivery(name, TIMER, b""))
                return True
        unanswered = [command for command in self.commands if not (command.answered or command.is_accepted)]
        for command in unanswered:
            self._send(command)
        if unanswered:
            self._start_gateway_work()
        return bool(unanswered)

    def _check_at_rest(self) -> bool:
        """At rest, run the reconciler until no accepted command is unfinished."""
        if not self._setup.heals or self._gateways.are_at_rest(self.commands, self.stores[GATEWAY]):
            return False
        self._schedule.now += CHECK_PAUSE
        return self._start_gateway_work()

    # --- Callers and gateways

    def _send(self, command: Command) -> None:
        command.attempts += 1
        assert command.attempts < ATTEMPTS_MAX, f"{command.topic} {command.id} is never answered"
        gateway = self._gateways.one()
        gateway.accept(command)
        self._broker.send(command, gateway.reply_to)

    def _end_a_wait(self) -> bool:
        """Let the wait of a held caller end: its gateway records the command as pending."""
        held = [command for command in self.commands if command.attempts and not command.answered]
        if not held:
            return False
        command, gateway = self._schedule.random.choice(held), self._gateways.one()
        return self._start("wait", gateway, partial(gateway.record_as_pending, command))

    def _sidecar_of(self, app: str) -> SimulatedSidecar:
        return SimulatedSidecar(app, self._schedule, self._stores, self._broker, self._wires)

    def _start_gateway_work(self) -> bool:
        """Start a round of a gateway's background work, unless one is running."""
        gateway = self._gateways.one()
        work = partial(gateway.work, self._setup.takes_over) if self._setup.heals else gateway.journal.flush
        return self._start("round", gateway, work)

    def _start(self, name: str, gateway: Gateway, work: Callable[[], Awaitable[None]]) -> bool:
        """Start work of a gateway; return False if work of this name is running there."""
        if any(each.process is gateway and each.topic == name for each in self._processes.in_flight):
            return False
        self._processes.begin(Delivery(gateway.name, name, b"", process=gateway, work=work))
        return True
