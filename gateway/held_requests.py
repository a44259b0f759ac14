"""The held request: who waits for which command, and the answer that an event brings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from gateway.problems import unavailable

HELD_MAX = 20_000  # requests of one gateway that wait at the same time; each costs a few KB


@dataclass(frozen=True, slots=True)
class Reply:
    """An event that answers a command; the data is decoded by whoever waits for it."""

    topic: str
    data: msgspec.Raw


class HeldRequests:
    """The requests that are held by this process, by the id of the command that each waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Reply | None]]] = {}
        self._count = 0
        self._released = False

    @contextmanager
    def hold(self, command_id: str) -> Iterator[asyncio.Future[Reply | None]]:
        """Wait for the reply to a command, or None once all are released; several may wait for the same one.

        Raise Problem 503 when too many wait.
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
        """How many there are now."""
        return self._count

    def is_waiting(self, command_id: str) -> bool:
        """Whether anybody waits for this command's reply."""
        return command_id in self._waiting

    def settle(self, command_id: str, reply: Reply) -> None:
        """Give the reply to all who wait for it."""
        for future in self._waiting.pop(command_id, ()):
            if not future.done():
                future.set_result(reply)

    def release(self) -> None:
        """Let nobody wait any longer, now and from now on: this process is about to stop."""
        self._released = True
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)
