"""The gateways that run, by their heartbeats: one of them works for those that are gone.

`alive:<pod name>` has the time of a gateway's latest heartbeat. The running gateway with the lowest
number takes over the pending commands and the journals of all others. If two gateways do so, both
publish the same commands, which does no harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.events import timestamp
from sidecart.chassis.reply_topics import REQUESTERS
from sidecart.chassis.store import Store, update
from sidecart.edge.pending_records import RETENTION_SECONDS

log = logging.getLogger(__name__)

BEAT_SECONDS = 10.0
LOST_SECONDS = 30.0
"""A gateway without a heartbeat for this long is gone; the clocks of gateways differ by less."""
OTHERS_SECONDS = 20.0
"""Between two looks at the work of gateways that are gone."""


class _Heartbeat(msgspec.Struct):
    at: datetime


class Replicas:
    """The heartbeats of all gateways, as one of them reads them."""

    def __init__(self, store: Store, pod_name: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._pod_name = pod_name
        self._now = now

    async def keep_alive(self) -> None:
        """Write a heartbeat at regular intervals, until cancelled."""
        while True:
            with suppress(TransientError):  # the store or the sidecar is down; the next one follows
                await self.beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Write a heartbeat; raise TransientError."""
        value = msgspec.json.encode({"at": timestamp(self._now())})
        await update(self._store, _key(self._pod_name), lambda _: (value, None), ttl_seconds=RETENTION_SECONDS)

    async def lost(self) -> list[str]:
        """Return the gateways for which this one works now; none if a lower one runs.

        The list includes gateways that never ran. Raise TransientError.
        """
        others = [name for name in REQUESTERS if name != self._pod_name]
        values = await self._store.load_many([_key(name) for name in others])
        running = {name for name, value in zip(others, values, strict=True) if value is not None and self._runs(value)}
        if self._pod_name not in REQUESTERS or any(name in running for name in _below(self._pod_name)):
            return []
        return [name for name in others if name not in running]

    def _runs(self, value: bytes) -> bool:
        age = self._now() - msgspec.json.decode(value, type=_Heartbeat).at
        return age < timedelta(seconds=LOST_SECONDS)


def _below(pod_name: str) -> tuple[str, ...]:
    return REQUESTERS[: REQUESTERS.index(pod_name)]


def _key(pod_name: str) -> str:
    return f"alive:{pod_name}"
