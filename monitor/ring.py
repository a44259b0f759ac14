"""The newest notices, numbered: who lost the connection goes on where it broke, or is told that too much has passed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

NOTICES_MAX = 5_000
"""Some three hundred orders; an order is about sixteen notices of half a kilobyte."""
BYTES_MAX = 16 * 1024 * 1024
"""What all of them may take: a notice of mails is larger."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a page is told, as it is sent."""

    number: int
    kind: str
    body: bytes


class Ring:
    """Notices of one run of the monitor; their ids name the run, for another one counts from the beginning."""

    def __init__(self, run: str, size: int = NOTICES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._run = run
        self._size = size
        self._bytes_max = bytes_max
        self._notices: deque[Notice] = deque()
        self._bytes = 0
        self.newest = 0
        """The number of the last notice that was added."""

    def add(self, kind: str, body: bytes) -> None:
        """Keep one more, and forget the oldest if there are too many."""
        self.newest += 1
        self._notices.append(Notice(self.newest, kind, body))
        self._bytes += len(body)
        while len(self._notices) > self._size or self._bytes > self._bytes_max:
            self._bytes -= len(self._notices.popleft().body)

    def id_of(self, number: int) -> str:
        """What the browser sends back as Last-Event-ID."""
        return f"{self._run}-{number}"

    def number_of(self, last_id: str) -> int | None:
        """The number behind an id; None if it is of another run, or what came after it is not all here any more."""
        run, _, digits = last_id.rpartition("-")
        if run != self._run or not (digits.isascii() and digits.isdigit()):
            return None
        number = int(digits)
        return number if number <= self.newest and self.since(number) is not None else None

    def since(self, number: int) -> list[Notice] | None:
        """What came after that number, oldest first; None if some of it is gone."""
        missing = self.newest - number
        if missing > len(self._notices):
            return None
        return [self._notices[index] for index in range(len(self._notices) - missing, len(self._notices))]
