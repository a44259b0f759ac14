"""The records that this process saved last, each with the ETag that the store has probably given it.

A store does not say which ETag a save led to. Where it counts the writes of each key (1, 2, 3 ...) it can be guessed,
and whoever saves with a guess is judged by the store: a wrong one is a conflict, never a wrong write, for an ETag that
grows with each write is that of one write only. A right guess saves one call, a wrong one costs two: where too many are
wrong (the store numbers transactions; several replicas write one record by turns) none is made for a while.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

CACHE_BYTES_MAX = 4 * 2**20  # some thousands of records: those of orders that are under way, of busy accounts
OVERHEAD_BYTES = 400  # of a key, an ETag, and what holds them
RECORD_BYTES_MAX = 16 * 2**10  # a larger one is loaded: it would crowd out many
CREDIT_MAX = 20
WRONG_COSTS = 3  # a right guess earns 1
PAUSE_SAVES = 1_000


@dataclass(frozen=True, slots=True)
class CachedRecord:
    """A record as this process saved it."""

    value: bytes
    etag: str


class RecordCache:
    """The least recently used is forgotten."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, CachedRecord] = OrderedDict()
        self._bytes = 0
        self._credit = WRONG_COSTS
        self._pause = 0

    def take(self, key: str) -> CachedRecord | None:
        """Return what is remembered of a key, and forget it: its next save is remembered anew."""
        found = self._records.pop(key, None)
        if found is not None:
            self._bytes -= _size(found)
        return found

    def put(self, key: str, value: bytes, etag: str | None) -> None:
        """Remember what was saved over a record with this ETag (None: there was none)."""
        if self._pause:
            self._pause -= 1
            return
        guess = _next(etag)
        if guess is None or len(value) > RECORD_BYTES_MAX:
            return
        self.take(key)
        self._records[key] = record = CachedRecord(value, guess)
        self._bytes += _size(record)
        while self._bytes > CACHE_BYTES_MAX:
            self.take(next(iter(self._records)))

    def note_guess(self, *, right: bool) -> None:
        """Learn what the store said of a guess."""
        self._credit = min(self._credit + 1, CREDIT_MAX) if right else self._credit - WRONG_COSTS
        if self._credit < 0:
            self._records.clear()
            self._bytes = 0
            self._credit, self._pause = 0, PAUSE_SAVES


def _size(record: CachedRecord) -> int:
    return len(record.value) + OVERHEAD_BYTES


def _next(etag: str | None) -> str | None:
    if etag is None:
        return "1"
    return str(int(etag) + 1) if etag.isascii() and etag.isdigit() else None
