"""Limits how many repeated commands may be unanswered, so that a slow system gets no slower.

A repeated command costs as much work as a new one. Answers pace the repetitions, as the window of
TCP does. A healthy system answers within milliseconds, so hundreds of commands are repeated in a
second. A system that answers nothing receives at most one window of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable


class RepeatWindow:
    """The repeated commands without an answer, by resource; each entry expires after `seconds`."""

    def __init__(self, size_max: int, seconds: float, now: Callable[[], float]) -> None:
        self._size_max = size_max
        self._seconds = seconds
        self._now = now
        self._expires_at: dict[str, float] = {}  # the first to expire comes first

    @property
    def room(self) -> int:
        """The number of commands that may be repeated now."""
        now = self._now()
        while self._expires_at and (oldest := next(iter(self._expires_at.items())))[1] <= now:
            del self._expires_at[oldest[0]]
        return max(self._size_max - len(self._expires_at), 0)

    @property
    def room_in(self) -> float:
        """The seconds after which the window has room at the latest."""
        return 0.0 if self.room else max(next(iter(self._expires_at.values())) - self._now(), 0.0)

    def add(self, resource: str) -> None:
        """Add a command that is repeated now."""
        self._expires_at.pop(resource, None)
        self._expires_at[resource] = self._now() + self._seconds

    def discard(self, resource: str) -> bool:
        """Remove a command that was answered or not published; return whether it was there."""
        return self._expires_at.pop(resource, None) is not None
