"""A cache of the records that this process saved last, each with a predicted ETag.

A store does not return the ETag of a save. Stores that count the writes of each key (1, 2, 3 ...)
make it predictable. A wrong prediction causes a conflict, never a wrong write, because such an ETag
identifies one write. A correct prediction saves one call; a wrong one costs two. The cache pauses
when too many predictions are wrong, for example because the store numbers transactions, or because
several replicas write one record in turn.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

CACHE_BYTES_MAX = 4 * 2**20  # a few thousand records: of orders in progress and of busy accounts
OVERHEAD_BYTES = 400  # of a key, an ETag and the Python objects around them
RECORD_BYTES_MAX = 16 * 2**10  # a larger one is not cached: it would evict many others
CREDIT_MAX = 20
WRONG_COSTS = 3  # credit lost by a wrong prediction; a correct one earns 1
PAUSE_SAVES = 1_000


@dataclass(frozen=True, slots=True)
class CachedRecord:
    """A record as this process saved it, with its predicted ETag."""

    value: bytes
    etag: str


class RecordCache:
    """A cache of records, limited by size; it evicts the least recently used record first."""

    def __init__(self) -> None:
        self._records: OrderedDict[str, CachedRecord] = OrderedDict()
        self._bytes = 0
        self._credit = WRONG_COSTS
        self._pause = 0

    def take(self, key: str) -> CachedRecord | None:
        """Remove a record from the cache and return it, or None; the next save puts it back."""
        found = self._records.pop(key, None)
        if found is not None:
            self._bytes -= _size(found)
        return found

    def put(self, key: str, value: bytes, etag: str | None) -> None:
        """Cache a record that was saved over the ETag `etag` (None: the key was free)."""
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
        """Record whether the store accepted a predicted ETag.

        Too many wrong predictions clear the cache and pause it for `PAUSE_SAVES` saves.
        """
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
