"""How many repeated commands may be unanswered at a time: a shop that is slow is not made slower by repetitions.

Each takes as much work as a new command. A window paces itself, as that of TCP does: on a healthy shop an answer takes
milliseconds, so hundreds are repeated in a second; on one that answers nothing, the window is all that is added.
"""

from __future__ import annotations

from collections.abc import Callable


class RepeatWindow:
    """The commands that were repeated and are not answered, by resource; one that is not answered in time is let go."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._now = now
        self._until: dict[str, float] = {}  # in the order of their ends

    @property
    def room(self) -> int:
        """How many more may be repeated now."""
        now = self._now()
        while self._until and (oldest := next(iter(self._until.items())))[1] <= now:
            del self._until[oldest[0]]
        return max(self._most - len(self._until), 0)

    @property
    def room_in(self) -> float:
        """Seconds until there is room at the latest."""
        return 0.0 if self.room else max(next(iter(self._until.values())) - self._now(), 0.0)

    def add(self, resource: str) -> None:
        """Count a command that is repeated now."""
        self._until.pop(resource, None)
        self._until[resource] = self._now() + self._seconds

    def discard(self, resource: str) -> bool:
        """It was answered, or not repeated after all; says whether that makes room."""
        return self._until.pop(resource, None) is not None
