"""The event processor with one safeguard taken out: each of these must fail, or the safeguard is not needed or not
tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chassis.events import Received
from chassis.processor import EventProcessor, Step
from chassis.record import OutboxEntry, Record


class Loading(EventProcessor[Any, Any]):
    """Loads each record, so that `_attempt` is all that there is; no safeguard is taken out."""

    async def _try_speculative(self, key: str, received: Received[Any]) -> bool:
        return False


class NoOutbox(Loading):
    """The state is saved alone: what it leads to is only in memory."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, etag = await self._load(key)
        secondary = await self._load_secondary(received.event)
        state = msgspec.json.decode(record.state, type=self._service.state | None)
        step = self._step(state, secondary, received)
        entry = self._entry(step, received)
        if step.state != state or step.secondaries:
            saved = Record(msgspec.Raw(msgspec.json.encode(step.state)), {})
            await self._sidecar.save(key, msgspec.json.encode(saved), etag)
        await self._finish(key, received.id, entry)


class OutputsNotInOutbox(EventProcessor[Any, Any]):
    """The outbox says which secondary records to write, and not which events to publish."""

    async def _load(self, key: str) -> tuple[Record, str | None]:
        record, etag = await super()._load(key)
        for entry in record.outbox.values():
            entry.outputs = []
        return record, etag


class OutboxNotFinishedFirst(EventProcessor[Any, Any]):
    """What an earlier save left undone is left undone, and dropped by the next save."""

    def _deferred(self, key: str, record: Record, received: Received[Any]) -> dict[str, OutboxEntry]:
        return {}

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        return set()


class DeferredWithItsSecondaries(EventProcessor[Any, Any]):
    """Of what is deferred to its writer the secondary records are too."""

    async def _finish_outbox(self, key: str, record: Record, deferred: Mapping[str, OutboxEntry]) -> set[str]:
        others = {event_id: entry for event_id, entry in record.outbox.items() if event_id not in deferred}
        return await super()._finish_outbox(key, Record(record.state, others), {})


class PublishBeforeSave(Loading):
    """Tell first, then decide."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, _ = await self._load(key)
        if received.id not in record.outbox:
            secondary = await self._load_secondary(received.event)
            state = msgspec.json.decode(record.state, type=self._service.state | None)
            await self._publish(self._entry(self._step(state, secondary, received), received))
        await super()._attempt(key, received)


class SecondaryReadFirst(Loading):
    """The secondary record is older than the record that it is read for."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        early = await self._load_secondary(received.event)
        record, etag = await self._load(key)
        deferred = self._deferred(key, record, received)
        just_done = await self._finish_outbox(key, record, deferred)
        if received.id in record.outbox:
            if received.id not in just_done:
                await self._publish(record.outbox[received.id])
            return
        state = msgspec.json.decode(record.state, type=self._service.state | None)
        step = self._step(state, early, received)
        entry = self._entry(step, received)
        if step.state == state and not step.secondaries:
            await self._publish(entry)
            return
        await self._save(key, received, step, {**deferred, received.id: entry}, etag)


class FoundInOutboxPublishesNothing(Loading):
    """An event whose id is in the outbox is taken for done."""

    async def _attempt(self, key: str, received: Received[Any]) -> None:
        record, _ = await self._load(key)
        if received.id in record.outbox and (key, received.id) in self._finished:
            return
        await super()._attempt(key, received)


class RepeatAnswersNothing(EventProcessor[Any, Any]):
    """An event that changes nothing is not answered."""

    def _step(self, state: Any, secondary: Any, received: Received[Any]) -> Step[Any]:
        step = super()._step(state, secondary, received)
        return Step(step.state) if step.state == state and not step.secondaries else step


class UnfinishedCached(EventProcessor[Any, Any]):
    """What was saved is remembered before its outbox is finished, so that the next save drops it."""

    async def _save(
        self, key: str, received: Received[Any], step: Step[Any], outbox: dict[str, OutboxEntry], etag: str | None
    ) -> None:
        saved = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state)), outbox))
        await self._sidecar.save(key, saved, etag)
        self._record_cache.put(key, saved, etag)
        await self._finish(key, received.id, outbox[received.id])
