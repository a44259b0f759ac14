"""Deadlines of many calls with one timer, which a call that ends in time never touches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Timed(Protocol):
    """A call with the time of the event loop at which it is late."""

    deadline: float


C = TypeVar("C", bound=Timed)


class Deadlines(Generic[C]):
    """Reports each late call once, at its deadline.

    The timer is armed for the earliest deadline that was open when it was armed. If that call has
    ended, the sweep finds none that is late and arms the timer for the earliest one that is open.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[C], None]) -> None:
        self._loop = loop
        self._late = late
        self._open: set[C] = set()
        self._due = float("inf")
        self._timer: asyncio.TimerHandle | None = None

    def add(self, call: C) -> None:
        """Watch a call."""
        self._open.add(call)
        if call.deadline < self._due:
            self._arm(call.deadline)

    def discard(self, call: C) -> None:
        """Stop watching a call."""
        self._open.discard(call)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        self._due = float("inf")

    def _arm(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_at(due, self._sweep)

    def _sweep(self) -> None:
        self.close()
        now = self._loop.time()
        for call in [each for each in self._open if each.deadline <= now]:
            self._open.discard(call)
            self._late(call)
        if self._open:
            self._arm(min(each.deadline for each in self._open))
