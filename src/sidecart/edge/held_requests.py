"""Held requests: HTTP requests whose responses wait for the events that answer them.

This is synchronous request-reply over a broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from sidecart.edge.problems import unavailable

HELD_MAX = 20_000  # requests that one gateway holds at the same time; each takes a few KB


@dataclass(frozen=True, slots=True)
class Reply:
    """An event that answers a command; the receiver decodes the data."""

    topic: str
    data: msgspec.Raw


class HeldRequests:
    """The requests that this process holds, by the id of the command that each waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Reply | None]]] = {}
        self._count = 0
        self._released = False

    @contextmanager
    def hold(self, command_id: str) -> Iterator[asyncio.Future[Reply | None]]:
        """Yield a future of the reply; its result is None once all requests are released.

        Several requests may wait for one command. Raise Problem 503 when too many requests are
        held.
        """
        if self._count >= HELD_MAX:
            raise unavailable(f"{HELD_MAX} requests are held already; try again")
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(command_id, set())
        waiting.add(future)
        self._count += 1
        if self._released:
            future.set_result(None)
        try:
            yield future
        finally:
            self._count -= 1
            waiting.discard(future)
            if not waiting and self._waiting.get(command_id) is waiting:
                del self._waiting[command_id]

    @property
    def count(self) -> int:
        """The number of requests that are held now."""
        return self._count

    def is_waiting(self, command_id: str) -> bool:
        """Return whether a request waits for the reply to this command."""
        return command_id in self._waiting

    def settle(self, command_id: str, reply: Reply) -> None:
        """Give the reply to all requests that wait for it."""
        for future in self._waiting.pop(command_id, ()):
            if not future.done():
                future.set_result(reply)

    def release(self) -> None:
        """End all current and future waits without a reply: this process is shutting down."""
        self._released = True
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)
