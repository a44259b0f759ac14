"""The simulated processes: replicas of each service that start, handle events and die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.processor import EventProcessor
from sidecart.testkit.simulation.broker import Broker
from sidecart.testkit.simulation.gateway import Gateway
from sidecart.testkit.simulation.gateways import Gateways
from sidecart.testkit.simulation.project import Parts, Project, Surroundings
from sidecart.testkit.simulation.schedule import CURRENT, Delivery, Schedule
from sidecart.testkit.simulation.sidecar import SimulatedSidecar

IN_FLIGHT_MAX = 8
TIMER = "timer"  # a pseudo topic: one round of the work that waits for the clock

MakeProcessor = Callable[..., EventProcessor[Any, Any]]
"""Gets the service, its sidecar, a clock and the name of the process."""


@dataclass(slots=True, eq=False)
class Replica:
    """One process of one service, with the memory that a crash loses."""

    app: str
    processor: EventProcessor[Any, Any]
    parts: Parts

    async def handle(self, topic: str, body: bytes) -> None:
        """Process an event, or run one round of the work that waits for the clock."""
        if topic == TIMER:
            assert self.parts.on_timer is not None, f"{self.app} has no timer"
            await self.parts.on_timer()
        elif topic in self.parts.handlers:
            await self.parts.handlers[topic](body)
        else:
            await self.processor.process(topic, body)
            if topic in self.parts.after:
                await self.parts.after[topic](body)


class Processes:
    """The replicas of all services, and the deliveries that they handle."""

    def __init__(
        self,
        project: Project,
        schedule: Schedule,
        broker: Broker,
        sidecar_of: Callable[[str], SimulatedSidecar],
        make_processor: MakeProcessor,
        replicas: int,
        gateways: Gateways,
    ) -> None:
        self._gateways = gateways
        self.in_flight: list[Delivery] = []
        self.side_effects: Counter[str] = Counter()
        self.dead_letters: list[str] = []
        self._apps = project.apps
        self._schedule = schedule
        self._broker = broker
        self._sidecar_of = sidecar_of
        self._make_processor = make_processor
        self._started = 0
        self._replicas = {name: [self._process(name) for _ in range(replicas)] for name in self._apps}

    def _process(self, app: str) -> Replica:
        sidecar = self._sidecar_of(app)
        self._started += 1
        simulated = self._apps[app]
        name = f"process {self._started}"
        processor = self._make_processor(simulated.program.service, sidecar, self._schedule.clock, name)
        parts = simulated.make_parts(Surroundings(sidecar, self._schedule, self.side_effects))
        return Replica(app, processor, parts)

    def kill_one(self) -> None:
        """Crash one process of one service, and start another in its place."""
        choice = self._schedule.random.choice
        replica = choice(self._replicas[choice(list(self._apps))])
        self.interrupt(replica)
        replica.parts.close()
        replicas = self._replicas[replica.app]
        replicas[replicas.index(replica)] = self._process(replica.app)

    def interrupt(self, process: object) -> None:
        """End the work of a process; its pending calls may take effect, its events come again."""
        self._schedule.abandon_calls(process)
        for delivery in [delivery for delivery in self.in_flight if delivery.process is process]:
            assert delivery.task is not None
            delivery.task.cancel()

    def start_next(self) -> bool:
        """Deliver a queued event to a replica; return False if none may start."""
        if not self.has_room:
            return False
        delivery = self._broker.take()
        if delivery.app in self._replicas:
            delivery.process = self._schedule.random.choice(self._replicas[delivery.app])
        elif (gateway := self._gateways.running.get(delivery.app)) is not None:
            delivery.process = gateway
        else:  # for a gateway that was removed
            return True
        delivery.ack_is_lost = False
        self.begin(delivery)
        return True

    @property
    def has_room(self) -> bool:
        """Return whether an event waits and may start now."""
        return bool(self._broker.queue) and len(self.in_flight) < IN_FLIGHT_MAX

    def begin(self, delivery: Delivery) -> None:
        """Handle a delivery in a task of its own."""
        self.in_flight.append(delivery)
        delivery.task = asyncio.get_running_loop().create_task(self._handle(delivery))

    async def _handle(self, delivery: Delivery) -> None:
        CURRENT.set(delivery)
        redeliver = delivery.work is None
        try:
            if delivery.work is not None:
                await delivery.work()
                return
            assert isinstance(delivery.process, Replica | Gateway)
            await delivery.process.handle(delivery.topic, delivery.body)
            redeliver = delivery.ack_is_lost
        except TransientError:
            pass  # the broker redelivers it
        except PermanentError as fault:
            self.dead_letters.append(f"{delivery.topic}: {fault.reason}")
            redeliver = False
        finally:
            self.in_flight.remove(delivery)
            if redeliver:
                self._broker.queue.append(delivery)
