"""A sidecar in memory, for one service: it stores records and published events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sidecart.chassis.errors import Conflict

Event = dict[str, Any]


class MemorySidecar:
    """A sidecar of one app that stores records and published events in memory."""

    def __init__(self, records: Mapping[str, bytes] = {}) -> None:
        self.records: dict[str, bytes] = dict(records)
        self.saves: list[tuple[str, bytes]] = []
        """Every write of a record, in sequence."""
        self.published: list[tuple[str, Event]] = []

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value, and the value in hex as its ETag."""
        value = self.records.get(key)
        return value, None if value is None else value.hex()

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the sequence of their keys."""
        return [self.records.get(key) for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write the value, or raise Conflict if the ETag does not match."""
        if etag != (await self.load(key))[1]:
            raise Conflict(key)
        self._write(key, value)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write the value if the key is free; return whether it was."""
        if key in self.records:
            return False
        self._write(key, value)
        return True

    async def publish(self, topic: str, event: bytes) -> None:
        """Append the event to `published`."""
        self.published.append((topic, msgspec.json.decode(event)))

    def _write(self, key: str, value: bytes) -> None:
        self.records[key] = value
        self.saves.append((key, value))
