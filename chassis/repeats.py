"""Repeated lines: the first few are written, the rest are counted until their window ends."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Kind = TypeVar("Kind", bound=Hashable)

FIRST = 10
"""Lines of one kind that are written in each window: enough to see that something repeats, and how fast."""
WINDOW_SECONDS = 10.0
KINDS_MAX = 200
"""Kinds that are remembered at once; the oldest gives way, and its count is reported."""


@dataclass(slots=True)
class _Window:
    ends: float
    seen: int = 0


class Repeats(Generic[Kind]):
    """Decides which lines are written; ask `over` before `is_shown`, so that a count is reported in its place."""

    def __init__(self, first: int = FIRST, seconds: float = WINDOW_SECONDS, kinds_max: int = KINDS_MAX) -> None:
        self._first = first
        self._kinds_max = kinds_max
        self.seconds = seconds
        # All windows are equally long, so they end in the order in which they began.
        self._windows: OrderedDict[Kind, _Window] = OrderedDict()
        self._given_way: list[tuple[Kind, int]] = []

    def is_shown(self, kind: Kind, now: float) -> bool:
        """Whether a line of this kind is written now; a line that is not is counted."""
        window = self._windows.get(kind)
        if window is None:
            if len(self._windows) >= self._kinds_max:
                self._drop_oldest()
            window = self._windows[kind] = _Window(now + self.seconds)
        window.seen += 1
        return window.seen <= self._first

    def over(self, now: float) -> list[tuple[Kind, int]]:
        """The kinds whose windows ended, with the number of lines that were not written; each is reported once."""
        while self._windows and next(iter(self._windows.values())).ends <= now:
            self._drop_oldest()
        found, self._given_way = self._given_way, []
        return found

    def _drop_oldest(self) -> None:
        kind, window = self._windows.popitem(last=False)
        if window.seen > self._first:
            self._given_way.append((kind, window.seen - self._first))
