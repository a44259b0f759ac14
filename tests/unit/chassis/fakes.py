"""A store and a broker in memory, with the calls that were made of them and what is to go wrong."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from chassis.errors import Conflict


class FakeSidecar:
    """Keeps records with ETags; each call is written down, and the n-th one (from 1) may fail as told."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, int]] = {}
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[str] = []
        self.largest: Counter[str] = Counter()  # bytes of the longest value that was ever written under a key
        self.refuse: dict[int, Exception] = {}  # the call is not made
        self.lose: dict[int, Exception] = {}  # the call is made, its answer is lost
        self.before: dict[int, Callable[[], None]] = {}  # somebody else is quicker
        self.gates: dict[int, asyncio.Event] = {}  # the call waits
        self.held = asyncio.Event()  # a call waits at a gate

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        number = await self._begin(f"load {key}")
        value, version = self.records.get(key, (None, 0))
        self._end(number)
        return (None, None) if value is None else (value, str(version))

    async def save(self, key: str, value: bytes, etag: str | None) -> None:
        """Write if the ETag still holds."""
        number = await self._begin(f"save {key}")
        if etag != (str(self.records[key][1]) if key in self.records else None):
            raise Conflict(key)
        self.put(key, value)
        self._end(number)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free."""
        number = await self._begin(f"insert {key}")
        is_free = key not in self.records
        if is_free:
            self.put(key, value)
        self._end(number)
        return is_free

    async def publish(self, topic: str, event: bytes) -> None:
        """Keep one event."""
        number = await self._begin(f"publish {topic}")
        self.published.append((topic, msgspec.json.decode(event)))
        self._end(number)

    def put(self, key: str, value: bytes) -> None:
        """Write without being asked through a call."""
        self.records[key] = value, self.records.get(key, (b"", 0))[1] + 1
        self.largest[key] = max(self.largest[key], len(value))

    def read(self, key: str) -> Any:
        """Return a record, decoded."""
        return msgspec.json.decode(self.records[key][0])

    def count(self, call: str) -> int:
        """How many calls began with these words."""
        return sum(each.startswith(call) for each in self.calls)

    async def _begin(self, call: str) -> int:
        await asyncio.sleep(0)  # a real call lets the others run
        self.calls.append(call)
        number = len(self.calls)
        if number in self.gates:
            self.held.set()
            await self.gates[number].wait()
        if number in self.before:
            self.before[number]()
        if number in self.refuse:
            raise self.refuse[number]
        return number

    def _end(self, number: int) -> None:
        if number in self.lose:
            raise self.lose[number]
