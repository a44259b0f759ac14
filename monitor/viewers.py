"""How many look, and a way to wait for the first and for the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Viewers:
    """A count that can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._present = asyncio.Event()
        self._absent = asyncio.Event()
        self._absent.set()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Count one for the length of the block."""
        self.count += 1
        self._note()
        try:
            yield
        finally:
            self.count -= 1
            self._note()

    async def wait_for_first(self) -> None:
        """Wait until somebody looks."""
        await self._present.wait()

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until nobody has looked for so long."""
        while True:
            await self._absent.wait()
            try:
                async with asyncio.timeout(seconds):
                    await self._present.wait()
            except TimeoutError:
                return

    def _note(self) -> None:
        here, gone = (self._present, self._absent) if self.count else (self._absent, self._present)
        here.set()
        gone.clear()
