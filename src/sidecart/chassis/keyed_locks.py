"""Locks by key, within one process.

Tasks that use the same key run one after another. Across processes, the ETag of the record detects
conflicts.
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
    """One lock per key, which exists only while a task holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, _KeyedLock] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of this key while the block runs."""
        entry = self._locks.setdefault(key, _KeyedLock())
        entry.waiters += 1
        try:
            async with entry.lock:
                yield
        finally:
            entry.waiters -= 1
            if not entry.waiters:
                del self._locks[key]
