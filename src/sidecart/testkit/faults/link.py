"""One TCP proxy that can drop, delay or reset connections.

It runs on the event loop of its network; any other thread may call the methods that inject faults.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from sidecart.launcher.ports import is_listening
from sidecart.testkit.faults.pipe import LOOPBACK, Pipe, reset_all
from sidecart.testkit.faults.swallow import Swallower

LOOK_SECONDS = 0.02
"""The time between two looks whether the target listens."""

T = TypeVar("T")


class Call(Protocol):
    """Runs a function on the loop of the network and returns its result."""

    def __call__(self, what: Callable[..., T], *arguments: Any) -> T:
        """Run `what`."""


class Link:
    """One TCP proxy: its own port in front of a target's port.

    It refuses connections until its target first listens, as the target itself does. A sidecar asks
    its app for the subscriptions once, as soon as the app's port accepts a connection.
    """

    def __init__(self, call: Call, name: str, target: int, seed: int) -> None:
        self._call = call
        self.name = name
        self.target = target
        self.port = 0
        self.pipes: list[Pipe] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.delay_seconds = 0.0
        self.is_silent = False
        """Whether new connections are accepted and never answered."""
        self.is_used = False
        """Whether a client has connected."""
        self.swallower_of: Callable[[], Swallower] | None = None
        self._random = random.Random(f"link {name} {seed}")
        self._reserved = socket.socket()
        """Has the port from the start, and listens when the target does."""
        self._waiting: asyncio.Task[None] | None = None
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        """Reserve the port, and listen on it as soon as the target listens."""
        self._reserved.bind((LOOPBACK, 0))
        self.port = self._reserved.getsockname()[1]
        if is_listening(self.target):
            await self._listen()
        else:
            self._waiting = asyncio.create_task(self._listen_later())

    async def _listen_later(self) -> None:
        while not is_listening(self.target):  # noqa: ASYNC110 - another process begins to listen, without an event
            await asyncio.sleep(LOOK_SECONDS)
        await self._listen()

    async def _listen(self) -> None:
        self.server = await asyncio.get_running_loop().create_server(lambda: Pipe(self).client, sock=self._reserved)

    async def close(self) -> None:
        """Stop listening and reset all connections."""
        if self._waiting is not None:
            self._waiting.cancel()
        if self.server is not None:
            self.server.close()
        self._reserved.close()
        await asyncio.gather(*self.tasks)
        reset_all(list(self.pipes))

    # --- Faults

    def lose(self, share: float) -> Callable[[], None]:
        """Drop the clients' data on a share of the connections; the undo resets these."""
        return self._call(self._lose, share)

    def silence(self, share: float) -> Callable[[], None]:
        """Make a share of the connections half-open for good, and new ones until the undo."""
        return self._call(self._silence, share)

    def cut(self, share: float) -> int:
        """Reset a share of the connections; return their number."""
        return self._call(self._cut, share)

    def slow(self, seconds: float) -> Callable[[], None]:
        """Delay data by this many seconds in each direction; the undo ends it."""
        self.delay_seconds = seconds
        return partial(setattr, self, "delay_seconds", 0.0)

    def _some(self, share: float) -> list[Pipe]:
        return [pipe for pipe in self.pipes if self._random.random() < share]

    def _lose(self, share: float) -> Callable[[], None]:
        hit = self._some(share)
        for pipe in hit:
            pipe.client.drops = True
        return lambda: self._call(reset_all, hit)

    def _silence(self, share: float) -> Callable[[], None]:
        self.is_silent = True
        for pipe in self._some(share):
            pipe.silence()
        return partial(setattr, self, "is_silent", False)

    def _cut(self, share: float) -> int:
        hit = self._some(share)
        reset_all(hit)
        return len(hit)
