"""Mutants of the toolkit, each without one safeguard.

Every mutant must fail the simulation of a project. One that passes shows that its safeguard is not
needed or not tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from sidecart.chassis.events import Received
from sidecart.chassis.processor import EventProcessor, is_decision
from sidecart.chassis.record import OutboxEntry, Record
from sidecart.chassis.service import Step
from sidecart.chassis.speculation import SpeculativeProcessor
from sidecart.testkit.simulation.processes import MakeProcessor
from sidecart.testkit.simulation.schedule import Faults
from sidecart.testkit.simulation.world import Setup

REPAIRED = Faults(lost=0, wiped=0)
"""The faults that the services repair without the reconciler."""


class NoOutbox(EventProcessor[Any, Any]):
    """Saves the state without an outbox; the outputs exist only in memory."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, etag = await self._load(key)
        secondary = await self._load_secondary(received.event)
        state = self._state(record)
        step = self._decide(state, secondary, received)
        entry = self._outbox.entry(step, received)
        if step.state != state or step.secondaries:
            saved = Record(msgspec.Raw(msgspec.json.encode(step.state)), {})
            await self._store.save(key, msgspec.json.encode(saved), etag)
        await self._outbox.finish(key, received.id, entry)


class OutputsNotInOutbox(SpeculativeProcessor[Any, Any]):
    """Loses the outputs of every outbox entry that it loads; keeps the secondary records."""

    async def _load(self, key: str) -> tuple[Record, str | None]:
        record, etag = await super()._load(key)
        for entry in record.outbox.values():
            entry.outputs = []
        return record, etag


class OutboxNotFinishedFirst(SpeculativeProcessor[Any, Any]):
    """Does not finish the outbox of an earlier save; the next save drops it."""

    def _deferred(self, key: str, record: Record, received: Received[Any]) -> dict[str, OutboxEntry]:
        return {}

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        return set()


class DeferredWithItsSecondaries(SpeculativeProcessor[Any, Any]):
    """Defers an entry's secondary records to its writer, together with its outputs."""

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        others = {event_id: entry for event_id, entry in record.outbox.items() if event_id not in deferred}
        return await super()._finish_outbox(key, Record(record.state, others), {})


class PublishBeforeSave(EventProcessor[Any, Any]):
    """Publishes the outputs before it saves the state."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, _ = await self._load(key)
        if received.id not in record.outbox:
            secondary = await self._load_secondary(received.event)
            state = self._state(record)
            await self._outbox.publish(self._outbox.entry(self._decide(state, secondary, received), received))
        await super()._attempt(key, received)


class SecondaryReadFirst(EventProcessor[Any, Any]):
    """Loads the secondary record before the primary record, so it can be stale."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        early = await self._load_secondary(received.event)
        record, etag = await self._load(key)
        self._address(record, received)
        deferred = self._deferred(key, record, received)
        just_done = await self._finish_outbox(key, record, deferred)
        if received.id in record.outbox:
            if received.id not in just_done:
                await self._outbox.publish(record.outbox[received.id])
            return
        state = self._state(record)
        step = self._decide(state, early, received)
        entry = self._outbox.entry(step, received)
        if not is_decision(step, state):
            await self._outbox.perform(entry)
            return
        kept = await self._kept(key, deferred, step)
        await self._commit(key, received, step, {**kept, received.id: entry}, etag)


class FoundInOutboxPublishesNothing(EventProcessor[Any, Any]):
    """Treats an event as done when its id is in the outbox."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, _ = await self._load(key)
        if received.id in record.outbox and received.id not in self._outbox.unfinished(key, record):
            return
        await super()._attempt(key, received)


class RepeatAnswersNothing(SpeculativeProcessor[Any, Any]):
    """Publishes nothing for an event that changes nothing."""

    def _decide(self, state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        step = super()._decide(state, secondary, received)
        return Step(step.state) if step.state == state and not step.secondaries else step


class UnfinishedCached(SpeculativeProcessor[Any, Any]):
    """Caches a saved record before its outbox is finished; the next save drops the outbox."""

    async def _commit(
        self, key: str, received: Received[Any], step: Step[Any], outbox: dict[str, OutboxEntry], etag: str | None
    ) -> bytes:
        saved = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state)), outbox))
        await self._store.save(key, saved, etag)
        self._record_cache.put(key, saved, etag)
        await self._outbox.finish(key, received.id, outbox[received.id])
        return saved


class AnswersFirstRequester(SpeculativeProcessor[Any, Any]):
    """Sends the saved outputs of a repeated command to the gateway that sent it first."""

    def _address(self, record: Record, received: Received[Any]) -> None:
        return


class CopyBeforeSave(EventProcessor[Any, Any]):
    """Publishes the copies for the requester before it saves the state."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, _ = await self._load(key)
        if received.id not in record.outbox and received.reply_to:
            secondary = await self._load_secondary(received.event)
            entry = self._outbox.entry(self._decide(self._state(record), secondary, received), received)
            for event in entry.outputs:
                for copy in self._outbox.topics(event)[1:]:
                    await self._outbox.sidecar.publish(copy, bytes(event))
        await super()._attempt(key, received)


class ErasureKeepsDeferred(SpeculativeProcessor[Any, Any]):
    """Keeps deferred entries in the outbox when a step erases data."""

    async def _kept(self, key: str, deferred: Mapping[str, OutboxEntry], step: Step[Any]) -> Mapping[str, OutboxEntry]:
        return deferred


class ErasureLeavesSecondaries(SpeculativeProcessor[Any, Any]):
    """Erases the state, and not the secondary records."""

    def _decide(self, state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        step = super()._decide(state, secondary, received)
        return step if step.erased is None else replace(step, erased={})


def without_reconciler(make_processor: MakeProcessor = SpeculativeProcessor, honours_etags: bool = True) -> Setup:
    """Return a setup whose services repair all faults themselves.

    The reconciler would repair some of the events that a mutant of the event processor loses.
    """
    return Setup(REPAIRED, make_processor, honours_etags, heals=False)


MUTANTS: Mapping[str, Setup] = {
    "no ETag": without_reconciler(honours_etags=False),
    "no outbox": without_reconciler(NoOutbox),
    "outputs not in the outbox": without_reconciler(OutputsNotInOutbox),
    "outbox not finished first": without_reconciler(OutboxNotFinishedFirst),
    "secondary records deferred with their entry": without_reconciler(DeferredWithItsSecondaries),
    "publish before save": without_reconciler(PublishBeforeSave),
    "secondary record read first": without_reconciler(SecondaryReadFirst),
    "an id found in the outbox publishes nothing": without_reconciler(FoundInOutboxPublishesNothing),
    "an unfinished save is cached": without_reconciler(UnfinishedCached),
    "a repeat that answers nothing": without_reconciler(RepeatAnswersNothing),
    "a repeated command answers its first requester": without_reconciler(AnswersFirstRequester),
    "the copy is published before the save": without_reconciler(CopyBeforeSave),
    "no take-over of a gateway that is gone": Setup(takes_over=False),
    "an erasure keeps the outputs of other entries": without_reconciler(ErasureKeepsDeferred),
    "an erasure leaves the secondary records": without_reconciler(ErasureLeavesSecondaries),
    "no reconciler": Setup(heals=False),
    "a request is answered before the journal has it": Setup(journals=False),
}
"""The mutants by name."""
