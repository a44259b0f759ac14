"""Suppression of repeated log lines: after the first few of a window, lines are only counted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Kind = TypeVar("Kind", bound=Hashable)

FIRST = 10
"""Lines of one kind written per window: enough to see that something repeats, and how fast."""
WINDOW_SECONDS = 10.0
KINDS_MAX = 200
"""Kinds tracked at once; the oldest is dropped first, and its count is reported."""


@dataclass(slots=True)
class _Window:
    ends: float
    seen: int = 0


class Repeats(Generic[Kind]):
    """Decides which lines are written.

    Call `over` before `is_shown`, so that the count of an earlier window precedes the next line.
    """

    def __init__(self, first: int = FIRST, seconds: float = WINDOW_SECONDS, kinds_max: int = KINDS_MAX) -> None:
        self._first = first
        self._kinds_max = kinds_max
        self.seconds = seconds
        # All windows have the same length, so the first to begin is the first to end.
        self._windows: OrderedDict[Kind, _Window] = OrderedDict()
        self._dropped: list[tuple[Kind, int]] = []

    def is_shown(self, kind: Kind, now: float) -> bool:
        """Return whether to write a line of this kind now; a suppressed line is counted."""
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= self._kinds_max:
                self._drop_oldest()
            window = self._windows[kind] = _Window(now + self.seconds)
        window.seen += 1
        return window.seen <= self._first

    def over(self, now: float) -> list[tuple[Kind, int]]:
        """Return the kinds whose windows ended, each once, with the number of suppressed lines."""
        while self._windows and next(iter(self._windows.values())).ends <= now:
            self._drop_oldest()
        found, self._dropped = self._dropped, []
        return found

    def _drop_oldest(self) -> None:
        kind, window = self._windows.popitem(last=False)
        if window.seen > self._first:
            self._dropped.append((kind, window.seen - self._first))
