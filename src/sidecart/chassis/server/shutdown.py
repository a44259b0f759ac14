"""Graceful shutdown: the server keeps serving while it drains, then accepts no more requests."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from socket import socket
from types import FrameType

import uvicorn

from sidecart.chassis.server.protocol import end_late

CLOSE = (b"connection", b"close")
DATE_SECONDS = 1.0
"""Between two updates of the Date header."""


class ShutdownSignal:
    """An event that is set once this process starts to shut down."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Return whether shutdown has started."""
        return self._event.is_set()

    def set(self) -> None:
        """Mark shutdown as started; further calls change nothing."""
        self._event.set()

    async def wait(self) -> None:
        """Wait until shutdown starts."""
        await self._event.wait()


class GracefulServer(uvicorn.Server):
    """A uvicorn server that drains.

    The first signal starts shutdown but keeps accepting connections for `drain_seconds`. Each
    response then closes its connection, so that no caller sends a request on one that the server
    closes at the same moment.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        shutdown: ShutdownSignal,
        drain_seconds: float,
        background_tasks: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        """Create the server; `background_tasks` stays open while it serves."""
        super().__init__(config)
        self._background_tasks = background_tasks or nullcontext()
        self._open = AsyncExitStack()
        self._shutdown = shutdown
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._exiting = asyncio.Event()

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start to serve."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._open.callback(asyncio.create_task(end_late(self.server_state.connections)).cancel)
        await self._open.enter_async_context(self._background_tasks)

    async def main_loop(self) -> None:
        """Serve until the server exits.

        uvicorn's loop wakes up ten times a second, which takes half of the CPU time of an idle app.
        """
        while not await self.on_tick(0):
            with suppress(TimeoutError):  # not wait_for: in 3.11 it may swallow a cancellation
                async with asyncio.timeout(DATE_SECONDS):
                    await self._exiting.wait()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop to serve."""
        await self._open.aclose()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start draining; a second signal stops the server at once."""
        if self._loop is None or self._shutdown.is_set:
            self._exit(sig, frame)
        else:
            self._loop.call_soon_threadsafe(self._start_draining, sig)

    def _exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._exiting.set)

    def _start_draining(self, sig: int) -> None:
        self._shutdown.set()
        # uvicorn makes the list anew each second, from the second of these two
        self.server_state.default_headers.append(CLOSE)
        self.config.encoded_headers.append(CLOSE)
        for each in self.server_state.connections:  # a request in progress keeps its older list
            if (cycle := getattr(each, "cycle", None)) is not None:
                cycle.keep_alive = False
        asyncio.get_running_loop().call_later(self._drain_seconds, self._exit, sig, None)
