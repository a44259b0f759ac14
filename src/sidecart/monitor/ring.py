"""A ring of the newest numbered notices: a reconnecting viewer resumes, or learns of a gap."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

NOTICES_MAX = 5_000
"""About 300 flows; a flow of five apps causes about 16 notices of half a kilobyte."""
DIGITS_MAX = 18
BYTES_MAX = 16 * 1024 * 1024
"""The bytes of all notices; a notice of mails is larger than others."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice to the page, encoded."""

    number: int
    kind: str
    body: bytes


class Ring:
    """Notices of one run of the monitor; ids contain the run, because numbers restart with it."""

    def __init__(self, run: str, size: int = NOTICES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._run = run
        self._size = size
        self._bytes_max = bytes_max
        self._notices: deque[Notice] = deque()
        self._bytes = 0
        self.newest = 0
        """The number of the last notice."""

    def add(self, kind: str, body: bytes) -> None:
        """Add a notice, and drop the oldest ones above the limits."""
        self.newest += 1
        self._notices.append(Notice(self.newest, kind, body))
        self._bytes += len(body)
        while len(self._notices) > self._size or self._bytes > self._bytes_max:
            self._bytes -= len(self._notices.popleft().body)

    def id_of(self, number: int) -> str:
        """The id that a browser sends back as Last-Event-ID."""
        return f"{self._run}-{number}"

    def number_of(self, last_id: str) -> int | None:
        """The number in an id; None for another run, or if later notices are gone."""
        run, _, digits = last_id.rpartition("-")
        if run != self._run or not (digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX):
            return None
        number = int(digits)
        return number if number <= self.newest and self.since(number) is not None else None

    def since(self, number: int) -> list[Notice] | None:
        """The notices after that number, oldest first; None if some are gone."""
        missing = self.newest - number
        if missing > len(self._notices):
            return None
        return [self._notices[index] for index in range(len(self._notices) - missing, len(self._notices))]
