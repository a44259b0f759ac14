"""A probe event, which an app sends to itself through the broker."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.events import CloudEvent, now, timestamp
from sidecart.chassis.sidecar import Sidecar

PROBE_SECONDS = 1.0  # between two probe events: the first ones may precede the queue


class LoopbackProbe:
    """An event that an app sends to itself.

    Its return proves that publishing and delivery through the broker both work.
    """

    def __init__(self, component: str, name: str) -> None:
        self.component = component
        self.topic = f"Probe-{name}"
        self._name = name
        self._returned = asyncio.Event()

    @property
    def has_returned(self) -> bool:
        """Return whether a probe event has returned since this process started."""
        return self._returned.is_set()

    async def handle(self, _body: bytes) -> None:
        """Accept a returned probe event."""
        self._returned.set()

    def event(self) -> bytes:
        """Return a new probe event, encoded for publishing."""
        probe_id = str(uuid.uuid4())
        event = CloudEvent(
            id=probe_id,
            type=self.topic,
            source=self._name,
            subject=self._name,
            correlationid=probe_id,
            time=timestamp(now()),
            data=msgspec.Raw(b"{}"),
        )
        return msgspec.json.encode(event)

    async def send_until_returned(self, sidecar: Sidecar) -> None:
        """Publish a probe event every `PROBE_SECONDS` until one returns."""
        while not self.has_returned:
            with suppress(TransientError):  # the sidecar may still be starting
                await sidecar.publish(self.topic, self.event())
            with suppress(TimeoutError):  # not wait_for: in 3.11 it may swallow a cancellation
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._returned.wait()
