"""Speculation: decide without a load, from the record that this process saved last.

A save needs the ETag of the record that it replaces, so the store itself verifies the guess: a
wrong one is a conflict, and nothing else happens. A right one saves one call of the sidecar per
event. `EventProcessor` does the same without speculation, with that call.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from sidecart.chassis.errors import Conflict, PermanentError
from sidecart.chassis.events import Received
from sidecart.chassis.outbox import Sidecar
from sidecart.chassis.processor import EventProcessor, is_decision
from sidecart.chassis.record import OutboxEntry, Record
from sidecart.chassis.record_cache import RecordCache
from sidecart.chassis.service import Service, Step
from sidecart.chassis.telemetry.metrics import CONFLICTS

S = TypeVar("S")
E = TypeVar("E")


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
