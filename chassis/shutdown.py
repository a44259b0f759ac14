"""A graceful stop: the app is told first, serves on until others have noticed, and then takes no more."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from types import FrameType

import uvicorn


class ShutdownSignal:
    """Whether this process was told to stop."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def set(self) -> None:
        """Say so; once is enough."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until it is."""
        await self._event.wait()


class GracefulServer(uvicorn.Server):
    """uvicorn, but that a first signal begins a stop, which accepts new connections for a while longer."""

    def __init__(
        self,
        config: uvicorn.Config,
        shutdown: ShutdownSignal,
        drain_seconds: float,
        background_tasks: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        """`background_tasks` is open for as long as it serves."""
        super().__init__(config)
        self._background_tasks = background_tasks or nullcontext()
        self._shutdown = shutdown
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        """Serve until told to stop."""
        self._loop = asyncio.get_running_loop()
        async with self._background_tasks:
            await super().main_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal is meant."""
        if self._loop is None or self._shutdown.is_set:
            super().handle_exit(sig, frame)
        else:
            self._loop.call_soon_threadsafe(self._begin, sig)

    def _begin(self, sig: int) -> None:
        self._shutdown.set()
        stop = super().handle_exit
        asyncio.get_running_loop().call_later(self._drain_seconds, stop, sig, None)
