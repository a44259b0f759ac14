"""A store and a broker in memory, which record their calls and can fail on demand."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sidecart.chassis.errors import Conflict


class FakeSidecar:
    """Stores records with ETags and logs each call; call number n (from 1) can be made to fail."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[bytes, int]] = {}
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.calls: list[str] = []
        self.largest: Counter[str] = Counter()  # bytes of the longest value per key
        self.refuse: dict[int, Exception] = {}  # the call fails without an effect
        self.lose: dict[int, Exception] = {}  # the call takes effect, and its response is lost
        self.before: dict[int, Callable[[], None]] = {}  # runs just before the call
        self.gates: dict[int, asyncio.Event] = {}  # the call waits for this event
        self.held = asyncio.Event()  # set when a call waits at a gate

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        number = await self._begin(f"load {key}")
        value, version = self.records.get(key, (None, 0))
        self._end(number)
        return (None, None) if value is None else (value, str(version))

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of `keys`, with None for an absent key."""
        number = await self._begin(f"load {len(keys)}")
        values = [self.records.get(key, (None, 0))[0] for key in keys]
        self._end(number)
        return values

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still matches; raise Conflict otherwise."""
        number = await self._begin(f"save {key}")
        if etag != (str(self.records[key][1]) if key in self.records else None):
            raise Conflict(key)
        self.put(key, value)
        self._end(number)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free, and return whether it was."""
        number = await self._begin(f"insert {key}")
        is_free = key not in self.records
        if is_free:
            self.put(key, value)
        self._end(number)
        return is_free

    async def publish(self, topic: str, event: bytes) -> None:
        """Store one published event."""
        number = await self._begin(f"publish {topic}")
        self.published.append((topic, msgspec.json.decode(event)))
        self._end(number)

    def put(self, key: str, value: bytes) -> None:
        """Write a record without a call."""
        self.records[key] = value, self.records.get(key, (b"", 0))[1] + 1
        self.largest[key] = max(self.largest[key], len(value))

    def read(self, key: str) -> Any:
        """Return a record, decoded."""
        return msgspec.json.decode(self.records[key][0])

    def count(self, call: str) -> int:
        """Return how many calls start with this text."""
        return sum(each.startswith(call) for each in self.calls)

    async def _begin(self, call: str) -> int:
        await asyncio.sleep(0)  # a real call lets other tasks run
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
