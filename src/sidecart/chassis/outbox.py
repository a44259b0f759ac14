"""The work that follows a save: secondary records to insert and events to publish.

All of it may be repeated: an insert keeps what is there, a repeated event has the same id, and the
form of an erased record is final.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.record import OutboxEntry, Record
from sidecart.chassis.reply_topics import reply_topic
from sidecart.chassis.service import Service, Step
from sidecart.chassis.store import Store, update

S = TypeVar("S")
E = TypeVar("E")

FINISHED_MAX = 20_000  # entries remembered as finished (6 MB); a forgotten one is finished again


class Sidecar(Store, Protocol):
    """The store, and the broker."""

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish a complete CloudEvent; raise SidecarUnavailable."""


class _Output(msgspec.Struct):
    type: str
    replyto: str = ""


class Outbox(Generic[S, E]):
    """Makes the outbox entries of one process, finishes them, and remembers the finished ones."""

    def __init__(self, service: Service[S, E], sidecar: Sidecar, now: Callable[[], datetime], writer: str) -> None:
        self.writer = writer
        self._service = service
        self.sidecar = sidecar
        self._now = now
        self._finished: OrderedDict[tuple[str, str], None] = OrderedDict()

    def entry(self, step: Step[S], received: Received[E]) -> OutboxEntry:
        """Return the work of a step, with ids that are the same at every repetition."""
        outputs = [msgspec.Raw(msgspec.json.encode(each)) for each in self._service.outputs(step, received)]
        erased = _encoded(step.erased) if step.erased else msgspec.UNSET
        return OutboxEntry(_encoded(step.secondaries), outputs, self.writer, timestamp(self._now()), erased)

    def unfinished(self, key: str, record: Record) -> dict[str, OutboxEntry]:
        """Return the entries of a record that this process does not know to be finished."""
        return {id_: entry for id_, entry in record.outbox.items() if (key, id_) not in self._finished}

    def reopen(self, key: str, event_id: str) -> None:
        """Forget that an entry is finished, before a save writes it anew."""
        self._finished.pop((key, event_id), None)

    async def finish(self, key: str, event_id: str, entry: OutboxEntry) -> None:
        """Do the work of an entry and remember that it is done."""
        await self.perform(entry)
        self._finished[key, event_id] = None
        if len(self._finished) > FINISHED_MAX:
            self._finished.popitem(last=False)

    async def perform(self, entry: OutboxEntry) -> None:
        """Insert the secondary records, then publish: a consumer may read them."""
        await self.write_secondaries(entry)
        await self.publish(entry)

    async def write_secondaries(self, entry: OutboxEntry) -> None:
        """Insert the secondary records, where one that exists stays; overwrite the erased ones."""
        for secondary_key, secondary in entry.secondaries.items():
            await self.sidecar.insert(secondary_key, bytes(secondary))
        if entry.erased is not msgspec.UNSET:
            for erased_key, form in entry.erased.items():
                await update(self.sidecar, erased_key, partial(_erase, bytes(form)))

    async def publish(self, entry: OutboxEntry) -> None:
        """Publish all outputs, and the copies for the requester, concurrently.

        If one fails, raise its error once none of them is in flight anymore.
        """
        publishing = [
            self.sidecar.publish(topic, bytes(event)) for event in entry.outputs for topic in self.topics(event)
        ]
        if len(publishing) == 1:
            await publishing[0]
            return
        for fault in await asyncio.gather(*publishing, return_exceptions=True):
            if fault is not None:
                raise fault

    def topics(self, output: msgspec.Raw) -> tuple[str, ...]:
        """Return the topic of an output, and the reply topic of its requester if it is a reply."""
        read = msgspec.json.decode(output, type=_Output)
        if read.replyto and read.type in self._service.replies:
            return read.type, reply_topic(read.replyto, self._service.name)
        return (read.type,)


def _encoded(records: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return {key: msgspec.Raw(msgspec.json.encode(record)) for key, record in records.items()}


def _erase(form: bytes, value: bytes | None) -> tuple[bytes | None, None]:
    """Replace a record by its final form; the store may have changed the form's bytes."""
    is_erased = value is not None and msgspec.json.decode(value) == msgspec.json.decode(form)
    return (None if is_erased else form), None
