"""The event processor: load a record, step it, save it with its outbox, finish the outbox.

Theory of operation (WIRE.md, section 8). A broker delivers an event at least once, in any sequence,
and the process may crash between any two lines. One record per aggregate makes this safe:

    {"state": ..., "outbox": {event id: {"secondaries": {key: ...}, "outputs": [event], ...}}}

- **The save is the only decision.** It writes the new state and its consequences as one value, and
  its ETag fails if another process decided meanwhile. Before it nothing is visible. After it
  everything can be repeated, by any process that loads the outbox: secondary records are inserted,
  and outputs have ids that follow from the event's id.
- **The outbox is finished before the next decision**, because the next save drops it.
- **An erasure keeps nothing of before.** The save has no earlier entry, and the erased forms of
  secondary records overwrite what is there. A late insert keeps them.
- **A repeated event gives the same outputs again**, from the outbox or from the state. The broker
  may have lost them together with the acknowledgment, and nothing else would publish them. They
  go to the gateway that repeated the command, because the first one may be gone.

Within a process, events of one key wait for each other (`KeyedLocks`); the ETag detects races of
processes. `src/sidecart/chassis/deferral.py` and `src/sidecart/chassis/speculation.py` make this
faster, and it is correct without them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from sidecart.chassis.deferral import deferred_to_their_writers
from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.events import Received, decode, parse
from sidecart.chassis.keyed_locks import KeyedLocks
from sidecart.chassis.outbox import Outbox, Sidecar
from sidecart.chassis.record import OutboxEntry, Record
from sidecart.chassis.reply_topics import readdressed
from sidecart.chassis.service import Service, Step
from sidecart.chassis.store import ATTEMPTS_MAX
from sidecart.chassis.telemetry.metrics import CONFLICTS, REPEATED

S = TypeVar("S")
E = TypeVar("E")


class EventProcessor(Generic[S, E]):
    """Processes the events of one service; create one per process."""

    def __init__(
        self, service: Service[S, E], sidecar: Sidecar, now: Callable[[], datetime], name: str | None = None
    ) -> None:
        """Create a processor with a unique `name`, which no process has or had before.

        The default is a random name.
        """
        self._service = service
        self._store = sidecar
        self._now = now
        self._outbox: Outbox[S, E] = Outbox(service, sidecar, now, name or secrets.token_hex(4))
        self._locks = KeyedLocks()
        self._repeated = {kind: REPEATED.labels(topic) for topic, kind in service.inputs.items()}

    async def process(self, topic: str, body: bytes) -> None:
        """Process one event completely.

        Raise PermanentError for a dead letter, TransientError for a redelivery.
        """
        service = self._service
        received = decode(parse(topic, body, service.publishers[topic]), service.inputs[topic], self._now())
        key = service.key(received.event)
        if key is None:
            await self._outbox.perform(self._outbox.entry(self._decide(None, None, received), received))
            return
        async with self._locks.hold(key):
            await self._process(key, received)

    async def _process(self, key: str, received: Received[E]) -> None:
        for _ in range(ATTEMPTS_MAX):
            try:
                return await self._attempt(key, received)
            except Conflict:
                CONFLICTS.inc()
        raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")

    async def _attempt(self, key: str, received: Received[E]) -> None:
        """Process the event; raise Conflict if another process saved the record meanwhile."""
        record, etag = await self._load(key)
        self._address(record, received)
        deferred = self._deferred(key, record, received)
        published = await self._finish_outbox(key, record, deferred)
        if received.id in record.outbox:
            self._repeated[type(received.event)].inc()
            if received.id not in published:
                await self._outbox.publish(record.outbox[received.id])
            return

        secondary = await self._load_secondary(received.event)  # after the record, never before it
        state = self._state(record)
        step = self._decide(state, secondary, received)
        entry = self._outbox.entry(step, received)
        if not is_decision(step, state):
            self._repeated[type(received.event)].inc()
            await self._outbox.perform(entry)
            return

        kept = await self._kept(key, deferred, step)
        await self._commit(key, received, step, {**kept, received.id: entry}, etag)

    def _address(self, record: Record, received: Received[E]) -> None:
        """Address the saved outputs of a repeated event to its latest requester."""
        if (entry := record.outbox.get(received.id)) is not None:
            entry.outputs = [msgspec.Raw(readdressed(bytes(each), received.reply_to)) for each in entry.outputs]

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        """Finish the entries of earlier saves; return the ids of the entries published now.

        Of entries in `deferred` it only writes the secondary records, because this step, or a
        consumer of its events, may read them.
        """
        published = set()
        for event_id, entry in self._outbox.unfinished(key, record).items():
            if event_id in deferred:
                await self._outbox.write_secondaries(entry)
                continue
            await self._outbox.finish(key, event_id, entry)
            published.add(event_id)
        return published

    async def _kept(self, key: str, deferred: Mapping[str, OutboxEntry], step: Step[S]) -> Mapping[str, OutboxEntry]:
        """Return the deferred entries; an erasure finishes them, because they may hold its data."""
        if step.erased is None:
            return deferred
        for event_id, entry in deferred.items():
            await self._outbox.finish(key, event_id, entry)
        return {}

    def _deferred(self, key: str, record: Record, received: Received[E]) -> dict[str, OutboxEntry]:
        """Return the entries that this round keeps in the outbox; never the entry of this event."""
        others = {id_: entry for id_, entry in self._outbox.unfinished(key, record).items() if id_ != received.id}
        return deferred_to_their_writers(others, self._outbox.writer, self._now())  # or {}: slower

    async def _commit(
        self, key: str, received: Received[E], step: Step[S], outbox: dict[str, OutboxEntry], etag: str | None
    ) -> bytes:
        """Save the state with its outbox, finish the event's entry, and return what was saved."""
        saved = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state)), outbox))
        self._outbox.reopen(key, received.id)
        await self._store.save(key, saved, etag)
        await self._outbox.finish(key, received.id, outbox[received.id])
        return saved

    async def _load(self, key: str) -> tuple[Record, str | None]:
        value, etag = await self._store.load(key)
        return (Record() if value is None else msgspec.json.decode(value, type=Record)), etag

    async def _load_secondary(self, event: E) -> Any:
        key = self._service.secondary_key(event)
        if key is None:
            return None
        value, _ = await self._store.load(key)
        return None if value is None else msgspec.json.decode(value, type=self._service.secondary_type(key))

    def _state(self, record: Record) -> S | None:
        return msgspec.json.decode(record.state, type=self._service.state | None)

    def _decide(self, state: S | None, secondary: Any, received: Received[E]) -> Step[S]:
        return self._service.decide(state, secondary, received)


def is_decision(step: Step[Any], state: Any) -> bool:
    """Return whether a step must be saved before its effects become visible.

    Otherwise its outputs repeat the stored state, and the first write of a secondary record wins.
    An erasure is a decision even if the state stays: its save fails if the data arrives right now.
    """
    return step.state != state or step.erased is not None or bool(step.secondaries and step.outputs)
