"""The simulated sidecar of one app: state, publish and invocation wait for the schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from sidecart.chassis.connections import Answer
from sidecart.chassis.server.serve import WireService
from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.store_health import StoreHealth
from sidecart.testkit.simulation.broker import Broker
from sidecart.testkit.simulation.schedule import CURRENT, Schedule
from sidecart.testkit.simulation.stores import Stores


class SimulatedSidecar:
    """The sidecar of one app, with the interface of `Sidecar`."""

    def __init__(
        self, app: str, schedule: Schedule, stores: Stores, broker: Broker, wires: Mapping[str, WireService]
    ) -> None:
        self.store = StoreHealth()
        self._app = app
        self._schedule = schedule
        self._stores = stores
        self._broker = broker
        self._wires = wires

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return a value and its ETag."""
        found: tuple[bytes | None, str | None] = await self._schedule.call(lambda: self._stores.load(self._app, key))
        return found

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return several values, read at one step."""
        found: list[bytes | None] = await self._schedule.call(
            lambda: [self._stores.load(self._app, key)[0] for key in keys]
        )
        return found

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """Invoke a read of a service; the calls of the service can fail too."""
        await self._schedule.call(lambda: None)
        other = SimulatedSidecar(app_id, self._schedule, self._stores, self._broker, self._wires)
        for read in self._wires[app_id](cast(Sidecar, other)).reads:
            pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", read.path)
            if matched := re.fullmatch(pattern, path):
                body = await read.find(matched.groupdict())
                return Answer(404, b"{}") if body is None else Answer(200, body)
        raise AssertionError(f"{app_id} has no {path}")

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag matches; `ttl_seconds` has no effect in the simulation."""
        await self._schedule.call(lambda: self._stores.save(self._app, key, value, etag))

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; return whether it was."""
        return bool(await self._schedule.call(lambda: self._stores.insert(self._app, key, value)))

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish an event to the broker."""
        delivery = CURRENT.get()
        await self._schedule.call(lambda: self._broker.publish(topic, event, delivery))
