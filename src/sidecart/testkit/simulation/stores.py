"""The simulated stores: one for each app, with ETags. For a time one of them refuses writes."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from sidecart.chassis.errors import Conflict, WriteRefused
from sidecart.testkit.simulation.schedule import Schedule

Records = Mapping[str, tuple[bytes, int]]
"""The records of one app by key, each with its version."""


class Stores:
    """The records of all apps."""

    def __init__(
        self, seed: int, schedule: Schedule, services: Sequence[str], others: Sequence[str], honours_etags: bool
    ) -> None:
        self.by_app: dict[str, dict[str, tuple[bytes, int]]] = {name: {} for name in (*services, *others)}
        self.writes_refused = 0
        self.writes: list[tuple[str, str, bytes]] = []
        """Every write in sequence: app, key and value."""
        self._schedule = schedule
        self._honours_etags = honours_etags
        self._counts_by_key = seed % 2 == 0  # like Redis; PostgreSQL numbers all writes
        self._versions = 0
        faults = schedule.faults
        refusal = random.Random(f"refusal {seed}")  # separate: keeps a seed's other faults the same
        begin = refusal.randrange(max(1, faults.steps - faults.refusal_steps))
        self._refusing = refusal.choice(list(services)), range(begin, begin + faults.refusal_steps)

    def load(self, app: str, key: str) -> tuple[bytes | None, str | None]:
        """Return a value and its ETag from the store of an app."""
        found = self.by_app[app].get(key)
        return (None, None) if found is None else (found[0], str(found[1]))

    def save(self, app: str, key: str, value: bytes, etag: str | None) -> None:
        """Write the value if the ETag matches, else raise Conflict."""
        found = self.by_app[app].get(key)
        if self._honours_etags and (None if found is None else str(found[1])) != etag:
            raise Conflict(key)
        self._write(app, key, value)

    def insert(self, app: str, key: str, value: bytes) -> bool:
        """Write if the key is free; return whether it was."""
        if key in self.by_app[app]:
            return False
        self._write(app, key, value)
        return True

    def _write(self, app: str, key: str, value: bytes) -> None:
        refusing, steps = self._refusing
        if app == refusing and self._schedule.steps in steps:
            self.writes_refused += 1
            raise WriteRefused(key)
        self._versions += 1
        version = self._versions
        if self._counts_by_key:
            version = self.by_app[app].get(key, (b"", 0))[1] + 1
        self.by_app[app][key] = (value, version)
        self.writes.append((app, key, value))
