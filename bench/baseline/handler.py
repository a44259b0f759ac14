"""Processes the events of one service of the baseline: load the record, decide, save it, publish.

There is no outbox: a record and its secondary records are written at once, and a repeated event is
answered from them. As in Sidecart (ADR 24), an event is first decided by the record that this
process saved last, and an event that creates a record without one. The script of the save verifies
the guess: it compares the version, and looks for the secondary record that a new event lacks.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from bench.baseline.direct import Direct
from sidecart.chassis.errors import Conflict, PermanentError, TransientError
from sidecart.chassis.events import Received, decode, now, parse
from sidecart.chassis.record import Record
from sidecart.chassis.service import Service, Step
from sidecart.chassis.speculation import RecordCache
from sidecart.chassis.store import ATTEMPTS_MAX


class Handler:
    """Processes the events of one service."""

    def __init__(self, service: Service[Any, Any], direct: Direct) -> None:
        self._service = service
        self._direct = direct
        self._remembered = RecordCache()

    async def handle(self, topic: str, body: bytes) -> None:
        """Process one event; raise PermanentError or TransientError."""
        service = self._service
        received = decode(parse(topic, body, service.publishers[topic]), service.inputs[topic], now())
        key = service.key(received.event)
        if key is None:
            step = service.decide(None, None, received)
            for name, secondary in step.secondaries.items():
                await self._direct.insert(name, msgspec.json.encode(secondary))
            return
        step = await self._guessed(key, received) or await self._loaded(key, received)
        events = service.outputs(step, received)
        await asyncio.gather(*(self._direct.publish(each.type, msgspec.json.encode(each)) for each in events))

    async def _guessed(self, key: str, received: Received[Any]) -> Step[Any] | None:
        """Decide without a load, as if the event were new; return None if nothing was done."""
        remembered = self._remembered.take(key)
        if remembered is None and not self._service.is_creation(received.event):
            return None
        value, version = (None, None) if remembered is None else (remembered.value, remembered.etag)
        state = self._state(value)
        try:
            step = self._service.decide(state, None, received)
        except PermanentError:
            return None
        if not _writes(step, state):
            return None
        saved = await self._save(key, step, version, absent=self._service.secondary_key(received.event))
        if remembered is not None:
            self._remembered.note_guess(right=saved)
        return step if saved else None

    async def _loaded(self, key: str, received: Received[Any]) -> Step[Any]:
        service, secondary_key = self._service, self._service.secondary_key(received.event)
        for _ in range(ATTEMPTS_MAX):
            (value, version), (known, _) = await self._direct.load_pair(key, secondary_key)
            state = self._state(value)
            kind = None if known is None else service.secondary_type(str(secondary_key))
            secondary = None if known is None else msgspec.json.decode(known, type=kind)
            step = service.decide(state, secondary, received)
            if not _writes(step, state) or await self._save(key, step, version):
                return step
        raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")

    async def _save(self, key: str, step: Step[Any], version: str | None, absent: str | None = None) -> bool:
        """Write a step; return whether the version matched, and `absent` does not exist."""
        secondaries = {name: msgspec.json.encode(each) for name, each in step.secondaries.items()}
        value = msgspec.json.encode(Record(msgspec.Raw(msgspec.json.encode(step.state))))
        try:
            await self._direct.save_with(key, value, version, secondaries, absent=absent)
        except Conflict:
            return False
        self._remembered.put(key, value, version)
        return True

    def _state(self, value: bytes | None) -> Any:
        if value is None:
            return None
        return msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=self._service.state | None)


def _writes(step: Step[Any], state: Any) -> bool:
    return step.state != state or bool(step.secondaries)
