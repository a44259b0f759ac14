"""The event processor: load one record, step it, save it with an outbox of what is still to do, do it. Safe to kill
anywhere.

A record in the store is `{"state": ..., "outbox": {event id: {"secondaries": {key: ...}, "outputs": [event], ...}}}`.
The save is the only decision; everything after it can be done again by whoever finds the outbox.
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

ATTEMPTS_MAX = 50  # lost races in a row on one record before the broker is asked to come again
FINISHED_MAX = 20_000  # entries remembered as finished (6 MB); a forgotten one is only finished once more


class Sidecar(Protocol):
    """What the event processor needs of a sidecar; each call raises SidecarUnavailable when it could not be made."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def save(self, key: str, value: bytes, etag: str | None) -> None:
        """Write if the ETag still holds, or with None if the key is free; raise Conflict for a lost race."""

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; say whether it was."""

    async def publish(self, topic: str, event: bytes) -> None:
        """Hand a whole CloudEvent to the broker."""


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """What one event changes: the new state, the secondary records to write once, the events to publish.

    Secondary records of a step that changes no state and publishes nothing are written without a save: they may
    depend on the event, not on the state.
    """

    state: S | None
    secondaries: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Service(Generic[S, E]):
    """A service as the event processor runs it; a secondary record's type is found by the word before the colon of
    its key.

    `key` is None for an event that belongs to no record: its step only writes secondary records, once, whoever is
    first.
    `is_creation` says of an event that its record is most likely not there yet.
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
    """Return what the service decides; raise PermanentError if it fails."""
    try:
        return service.step(state, secondary, received)
    # A step does no I/O: it fails by a permanent error or by a bug, never by a transient error.
    except Exception as error:
        raise PermanentError(f"{type(error).__name__} in the step", str(error)) from error


def announcements(service: Service[S, E], step: Step[S], received: Received[E]) -> list[CloudEvent]:
    """The outputs of a step as events, the same at every repetition but for the trace, if there is one."""
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
    """Delivers events to one service; one per process."""

    def __init__(
        self, service: Service[S, E], sidecar: Sidecar, now: Callable[[], datetime], name: str | None = None
    ) -> None:
        """Give the process a `name` that no other has, and none had before it; a random one unless told."""
        self._service = service
        self._sidecar = sidecar
        self._now = now
        self._name = name or secrets.token_hex(4)
        self._finished: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._record_cache = RecordCache()
        self._locks = KeyedLocks()
        self._repeated = {kind: REPEATED.labels(topic) for topic, kind in service.inputs.items()}

    async def process(self, topic: str, body: bytes) -> None:
        """Carry one event through; raise PermanentError for a dead letter, TransientError for a redelivery."""
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
            # The redelivery may be all that is left of a publish that the broker lost with our acknowledgement.
            if received.id not in just_done:
                await self._publish(record.outbox[received.id])
            return

        secondary = await self._load_secondary(received.event)  # after the record, never before
        state = msgspec.json.decode(record.state, type=self._service.state | None)
        step = self._step(state, secondary, received)
        entry = self._entry(step, received)
        if not _is_decision(step, state):
            # Nothing to decide: an output repeats what is known, a secondary record is written once by whoever is
            # first.
            self._repeated[type(received.event)].inc()
            await self._do(entry)
            return

        # Every older entry is finished by now, or left: the outbox that we save holds this one, and seldom any more.
        await self._save(key, received, step, {**deferred, received.id: entry}, etag)

    async def _try_speculative(self, key: str, received: Received[E]) -> bool:
        """Decide without a load, on what this process saved last, or on there being no record; the ETag is the judge.

        False if nothing was done: an assumption may lead to a save that the store accepts, and to nothing else.
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
        # Where there is no record nobody has written a secondary record: the save that is accepted says so afterwards.
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
        """Save the state with its outbox, finish the event's own entry, and remember what was saved; raise Conflict."""
        saved = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state)), outbox))
        self._finished.pop((key, received.id), None)
        await self._sidecar.save(key, saved, etag)
        await self._finish(key, received.id, outbox[received.id])
        if len(outbox) == 1:
            # Not before: its outbox is finished, and need not be looked at again.
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
        """What is to do after the save, with the ids that a repetition will give again."""
        outputs = [msgspec.Raw(msgspec.json.encode(each)) for each in announcements(self._service, step, received)]
        secondaries = {key: msgspec.Raw(msgspec.json.encode(secondary)) for key, secondary in step.secondaries.items()}
        return OutboxEntry(secondaries, outputs, self._name, timestamp(self._now()))

    def _deferred(self, key: str, record: Record, received: Received[E]) -> dict[str, OutboxEntry]:
        """The entries that are deferred to the processes that saved them, as they are kept; never that of this
        event.
        """
        others = {id_: entry for id_, entry in self._unfinished(key, record).items() if id_ != received.id}
        return deferred_to_their_writers(others, self._name, self._now())

    def _unfinished(self, key: str, record: Record) -> dict[str, OutboxEntry]:
        return {id_: entry for id_, entry in record.outbox.items() if (key, id_) not in self._finished}

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        """Do what any earlier save left undone; return the ids of the entries that were done just now.

        Of those in `deferred` the secondary records alone, for this step or whoever hears of it may read them.
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
        """Publish all outputs at once; whatever fails, none of them is under way any more when this returns."""
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
    """Whether a step has to be saved before anybody hears of it."""
    return step.state != state or bool(step.secondaries and step.outputs)
