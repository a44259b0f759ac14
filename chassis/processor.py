"""The event processor: load a record, step it, save it with its outbox, finish the outbox.

The process may be killed anywhere in between. A record in the store is `{"state": ..., "outbox":
{event id: {"secondaries": {key: ...}, "outputs": [event], ...}}}`. The save is the only decision.
Any process that loads the outbox can repeat everything after the save.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from chassis import tracing
from chassis.errors import Conflict, PermanentError, TransientError
from chassis.events import CloudEvent, Received, decode, derived_id, parse, timestamp
from chassis.keyed_locks import KeyedLocks
from chassis.metrics import CONFLICTS, REPEATED
from chassis.record import OutboxEntry, Record, deferred_to_their_writers
from chassis.record_cache import RecordCache

S = TypeVar("S")
E = TypeVar("E")

ATTEMPTS_MAX = 50  # conflicts in a row on one record before the event is left to a redelivery
FINISHED_MAX = 20_000  # entries remembered as finished (6 MB); a forgotten one is finished again


class Sidecar(Protocol):
    """The sidecar API that the event processor needs.

    Each call raises SidecarUnavailable if it fails.
    """

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def save(self, key: str, value: bytes, etag: str | None) -> None:
        """Write if the ETag still matches, or, with None, if the key is free.

        Raise Conflict if another process wrote the record.
        """

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free, and return whether it was."""

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish a complete CloudEvent."""


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """The changes that one event makes.

    It holds the new state, the secondary records to write once, and the events to publish. If a
    step neither changes the state nor publishes, its secondary records are written without a save.
    They may then depend on the event, but not on the state.
    """

    state: S | None
    secondaries: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Service(Generic[S, E]):
    """The definition of a service for the event processor.

    The part of a key before its colon selects the type of a secondary record. `key` returns None
    for an event without a record; the step of such an event only writes secondary records, and the
    first write wins. `is_creation` returns whether the event's record most likely does not exist
    yet.
    """

    name: str
    inputs: Mapping[str, type[E]]
    state: type[S]
    secondaries: Mapping[str, type[Any]]
    key: Callable[[E], str | None]
    is_creation: Callable[[E], bool]
    secondary_key: Callable[[E], str | None]
    step: Callable[[S | None, Any, Received[E]], Step[S]]
    subject: Callable[[Any], str]


def decided(service: Service[S, E], state: S | None, secondary: Any, received: Received[E]) -> Step[S]:
    """Return the service's step for an event; raise PermanentError if the step fails."""
    try:
        return service.step(state, secondary, received)
    # A step does no I/O, so it fails by a permanent error or a bug, never by a transient error.
    except Exception as error:
        raise PermanentError(f"{type(error).__name__} in the step", str(error)) from error


def announcements(service: Service[S, E], step: Step[S], received: Received[E]) -> list[CloudEvent]:
    """Return the outputs of a step as events.

    They are the same at every repetition, except for their trace attributes.
    """
    traceid, traceparent = tracing.attributes()
    return [
        CloudEvent(
            id=derived_id(received.id, service.name, type(output).__name__, position),
            type=type(output).__name__,
            source=service.name,
            subject=service.subject(output),
            correlationid=received.correlation_id,
            time=timestamp(received.at),
            data=msgspec.Raw(msgspec.json.encode(output)),
            traceid=traceid,
            traceparent=traceparent,
        )
        for position, output in enumerate(step.outputs)
    ]


class _Kind(msgspec.Struct):
    type: str


class EventProcessor(Generic[S, E]):
    """Processes the events of one service; create one per process."""

    def __init__(
        self, service: Service[S, E], sidecar: Sidecar, now: Callable[[], datetime], name: str | None = None
    ) -> None:
        """Create a processor with a unique `name`, which no process has or had before.

        The default is a random name.
        """
        self._service = service
        self._sidecar = sidecar
        self._now = now
        self._name = name or secrets.token_hex(4)
        self._finished: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._record_cache = RecordCache()
        self._locks = KeyedLocks()
        self._repeated = {kind: REPEATED.labels(topic) for topic, kind in service.inputs.items()}

    async def process(self, topic: str, body: bytes) -> None:
        """Process one event completely.

        Raise PermanentError for a dead letter, TransientError for a redelivery.
        """
        received = decode(parse(topic, body), self._service.inputs[topic], self._now())
        key = self._service.key(received.event)
        if key is None:
            return await self._do(self._entry(self._step(None, None, received), received))
        async with self._locks.hold(key):
            if await self._try_speculative(key, received):
                return None
            for _ in range(ATTEMPTS_MAX):
                try:
                    return await self._attempt(key, received)
                except Conflict:
                    CONFLICTS.inc()
        raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")

    async def _attempt(self, key: str, received: Received[E]) -> None:
        record, etag = await self._load(key)
        deferred = self._deferred(key, record, received)
        just_done = await self._finish_outbox(key, record, deferred)
        if received.id in record.outbox:
            self._repeated[type(received.event)].inc()
            # The broker may have lost both the acknowledgment and the published events: publish
            # again.
            if received.id not in just_done:
                await self._publish(record.outbox[received.id])
            return

        secondary = await self._load_secondary(received.event)  # after the record, never before it
        state = msgspec.json.decode(record.state, type=self._service.state | None)
        step = self._step(state, secondary, received)
        entry = self._entry(step, received)
        if not _is_decision(step, state):
            # Nothing to decide: outputs repeat the stored state, and the first write of a secondary
            # record wins.
            self._repeated[type(received.event)].inc()
            await self._do(entry)
            return

        # Every older entry is finished or deferred by now, so the saved outbox rarely holds more
        # than this entry.
        await self._save(key, received, step, {**deferred, received.id: entry}, etag)

    async def _try_speculative(self, key: str, received: Received[E]) -> bool:
        """Decide without a load; return False if nothing was done.

        The decision uses the record that this process saved last, or assumes that there is no
        record. The ETag of the save verifies the assumption: if it is wrong, the store refuses the
        save, and nothing else happens.
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
        state = msgspec.json.decode(record.state, type=self._service.state | None)
        try:
            step = self._step(state, secondary, received)
        except PermanentError:
            return False
        if not _is_decision(step, state):
            return False
        try:
            await self._save(key, received, step, {received.id: self._entry(step, received)}, etag)
        except Conflict:
            CONFLICTS.inc()
            if etag is not None:
                self._record_cache.note_guess(right=False)
            return False
        if etag is not None:
            self._record_cache.note_guess(right=True)
        return True

    async def _save(
        self, key: str, received: Received[E], step: Step[S], outbox: dict[str, OutboxEntry], etag: str | None
    ) -> None:
        """Save the state with its outbox, finish the event's own entry, and cache the record.

        Raise Conflict if another process wrote the record.
        """
        saved = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state)), outbox))
        self._finished.pop((key, received.id), None)
        await self._sidecar.save(key, saved, etag)
        await self._finish(key, received.id, outbox[received.id])
        if len(outbox) == 1:
            # Cache it only now that its outbox is finished and needs no further check.
            self._record_cache.put(key, saved, etag)

    async def _load(self, key: str) -> tuple[Record, str | None]:
        value, etag = await self._sidecar.load(key)
        return (Record() if value is None else msgspec.json.decode(value, type=Record)), etag

    async def _load_secondary(self, event: E) -> Any:
        key = self._service.secondary_key(event)
        if key is None:
            return None
        value, _ = await self._sidecar.load(key)
        kind = self._service.secondaries[key.partition(":")[0]]
        return None if value is None else msgspec.json.decode(value, type=kind)

    def _step(self, state: S | None, secondary: Any, received: Received[E]) -> Step[S]:
        return decided(self._service, state, secondary, received)

    def _entry(self, step: Step[S], received: Received[E]) -> OutboxEntry:
        """Return the work that follows the save, with ids that are the same at every repetition."""
        outputs = [msgspec.Raw(msgspec.json.encode(each)) for each in announcements(self._service, step, received)]
        secondaries = {key: msgspec.Raw(msgspec.json.encode(secondary)) for key, secondary in step.secondaries.items()}
        return OutboxEntry(secondaries, outputs, self._name, timestamp(self._now()))

    def _deferred(self, key: str, record: Record, received: Received[E]) -> dict[str, OutboxEntry]:
        """Return the entries that are deferred to their writers, as the outbox stores them.

        The entry of this event is never among them.
        """
        others = {id_: entry for id_, entry in self._unfinished(key, record).items() if id_ != received.id}
        return deferred_to_their_writers(others, self._name, self._now())

    def _unfinished(self, key: str, record: Record) -> dict[str, OutboxEntry]:
        return {id_: entry for id_, entry in record.outbox.items() if (key, id_) not in self._finished}

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        """Finish the entries of earlier saves; return the ids of the entries finished now.

        Of entries in `deferred` it only writes the secondary records, because this step, or a
        consumer of its events, may read them.
        """
        done = set()
        for event_id, entry in self._unfinished(key, record).items():
            if event_id in deferred:
                await self._write_secondaries(entry)
                continue
            await self._finish(key, event_id, entry)
            done.add(event_id)
        return done

    async def _do(self, entry: OutboxEntry) -> None:
        await self._write_secondaries(entry)
        await self._publish(entry)

    async def _write_secondaries(self, entry: OutboxEntry) -> None:
        for secondary_key, secondary in entry.secondaries.items():
            await self._sidecar.insert(secondary_key, bytes(secondary))

    async def _finish(self, key: str, event_id: str, entry: OutboxEntry) -> None:
        await self._do(entry)
        self._finished[key, event_id] = None
        if len(self._finished) > FINISHED_MAX:
            self._finished.popitem(last=False)

    async def _publish(self, entry: OutboxEntry) -> None:
        """Publish all outputs concurrently.

        If one fails, raise its error once none of them is in flight anymore.
        """
        publishing = [
            self._sidecar.publish(msgspec.json.decode(event, type=_Kind).type, bytes(event)) for event in entry.outputs
        ]
        if len(publishing) == 1:
            await publishing[0]
            return
        for fault in await asyncio.gather(*publishing, return_exceptions=True):
            if fault is not None:
                raise fault


def _is_decision(step: Step[Any], state: Any) -> bool:
    """Return whether a step must be saved before its effects become visible."""
    return step.state != state or bool(step.secondaries and step.outputs)
