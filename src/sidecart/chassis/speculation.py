"""Speculation: decide without a load, from the record that this process saved last.

A save needs the ETag of the record that it replaces, so the store itself verifies the guess: a
wrong one is a conflict, and nothing else happens. A right one saves one call of the sidecar per
event. `EventProcessor` does the same without speculation, with that call.

A store does not return the ETag of a save. Stores that count the writes of each key (1, 2, 3 ...)
make it predictable. A wrong prediction causes a conflict, never a wrong write, because such an ETag
identifies one write. A correct prediction saves one call; a wrong one costs two. The cache pauses
when too many predictions are wrong, for example because the store numbers transactions, or because
several replicas write one record in turn.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec

from sidecart.chassis.errors import Conflict, PermanentError
from sidecart.chassis.events import Received
from sidecart.chassis.outbox import Sidecar
from sidecart.chassis.processor import EventProcessor, is_decision
from sidecart.chassis.record import OutboxEntry, Record
from sidecart.chassis.service import Service, Step
from sidecart.chassis.telemetry.metrics import CONFLICTS

S = TypeVar("S")
E = TypeVar("E")

CACHE_BYTES_MAX = 4 * 2**20  # a few thousand records: those that are busy now
OVERHEAD_BYTES = 400  # of a key, an ETag and the Python objects around them
RECORD_BYTES_MAX = 16 * 2**10  # a larger one is not cached: it would evict many others
CREDIT_MAX = 20
WRONG_COSTS = 3  # credit lost by a wrong prediction; a correct one earns 1
PAUSE_SAVES = 1_000


class SpeculativeProcessor(EventProcessor[S, E]):
    """An event processor that first tries each event without loading its record."""

    def __init__(
        self, service: Service[S, E], sidecar: Sidecar, now: Callable[[], datetime], name: str | None = None
    ) -> None:
        super().__init__(service, sidecar, now, name)
        self._record_cache = RecordCache()

    async def _process(self, key: str, received: Received[E]) -> None:
        if not await self._try_speculative(key, received):
            await super()._process(key, received)

    async def _try_speculative(self, key: str, received: Received[E]) -> bool:
        """Decide by a guess; return False if nothing was done.

        The guess is the cached record, or that there is no record for an event that creates one.
        Only a decision is made this way, because only its save verifies the guess.
        """
        cached = self._record_cache.take(key)
        if cached is not None:
            record, etag = msgspec.json.decode(cached.value, type=Record), cached.etag
        elif self._service.is_creation(received.event):
            record, etag = Record(), None
        else:
            return False
        if received.id in record.outbox:
            return False
        # Without a record there is no secondary record either. The accepted save proves afterwards
        # that there was no record.
        secondary = None if etag is None else await self._load_secondary(received.event)
        state = self._state(record)
        try:
            step = self._decide(state, secondary, received)
        except PermanentError:
            return False
        if not is_decision(step, state):
            return False
        is_right = await self._commits(key, received, step, etag)
        if etag is not None:
            self._record_cache.note_guess(right=is_right)
        return is_right

    async def _commits(self, key: str, received: Received[E], step: Step[S], etag: str | None) -> bool:
        try:
            await self._commit(key, received, step, {received.id: self._outbox.entry(step, received)}, etag)
        except Conflict:
            CONFLICTS.inc()
            return False
        return True

    async def _commit(
        self, key: str, received: Received[E], step: Step[S], outbox: dict[str, OutboxEntry], etag: str | None
    ) -> bytes:
        saved = await super()._commit(key, received, step, outbox, etag)
        if len(outbox) == 1:  # finished by now, so the next save may drop it without a check
            self._record_cache.put(key, saved, etag)
        return saved


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
