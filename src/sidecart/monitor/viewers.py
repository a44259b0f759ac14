"""Count the connected viewers, and wait for the first and for the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Viewers:
    """The number of viewers, with ways to wait for its changes."""

    def __init__(self) -> None:
        self.count = 0
        self._connected = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Count one viewer for the duration of the block."""
        self.count += 1
        self._update()
        try:
            yield
        finally:
            self.count -= 1
            self._update()

    async def wait_for_first(self) -> None:
        """Wait until a viewer is connected."""
        await self._connected.wait()

    async def wait_until_idle(self, seconds: float) -> None:
        """Wait until no viewer has been connected for `seconds`."""
        while True:
            await self._idle.wait()
            try:
                async with asyncio.timeout(seconds):
                    await self._connected.wait()
            except TimeoutError:
                return

    def _update(self) -> None:
        set_now, clear_now = (self._connected, self._idle) if self.count else (self._idle, self._connected)
        set_now.set()
        clear_now.clear()
