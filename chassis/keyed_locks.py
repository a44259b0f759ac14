"""Locks by key: within one process, whoever works on the same key waits for each other; across processes the ETag
decides.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _KeyedLock:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiters: int = 0


class KeyedLocks:
    """One lock a key, for as long as anybody wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, _KeyedLock] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the key alone."""
        entry = self._locks.setdefault(key, _KeyedLock())
        entry.waiters += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.waiters -= 1
            if not entry.waiters:
                del self._locks[key]
