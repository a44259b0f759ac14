"""How many look, and a way to wait for the first and for the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Lookers:
    """A count that can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._some = asyncio.Event()
        self._nobody = asyncio.Event()
        self._nobody.set()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        """Count one for the length of the block."""
        self.count += 1
        self._note()
        try:
            yield
        finally:
            self.count -= 1
            self._note()

    async def somebody(self) -> None:
        """Wait until somebody looks."""
        await self._some.wait()

    async def nobody_for(self, seconds: float) -> None:
        """Wait until nobody has looked for so long."""
        while True:
            await self._nobody.wait()
            try:
                async with asyncio.timeout(seconds):
                    await self._some.wait()
            except TimeoutError:
                return

    def _note(self) -> None:
        here, gone = (self._some, self._nobody) if self.count else (self._nobody, self._some)
        here.set()
        gone.clear()
