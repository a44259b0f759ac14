"""The journal: accepted commands whose flows have not ended, written to the store before the 201.

The gateway inserts batch n as `accepted:<pod name>:<n>` and never changes it. A batch holds the
flows that began while the previous batch was being written (group commit). After a restart the
gateway reads them (src/sidecart/edge/journal_recovery.py). An accepted request therefore survives a
crash of this process, and a broker that loses all its events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.store import Store
from sidecart.edge.problems import unavailable

log = logging.getLogger(__name__)

FLOWS_MAX = 100_000  # about 300 bytes each; so many flows are open only while a service is down
BATCH_FLOWS_MAX = 1_000  # 60 KB
# The store keeps a batch, and the gateway repeats a command, for this long.
RETENTION_SECONDS = 7 * 24 * 3600
RETRY_SECONDS = 1.0  # after the store was unreachable
# The writer pauses before each batch, so more flows share it. The pause is this share of the
# current reply time, so the store has the batch before the replies arrive.
LINGER_SHARE = 0.25
LINGER_SECONDS_MAX = 0.05
LINGER_RISE, LINGER_FALL = 0.1, 0.5  # the pause falls fast, so it is short soon after a busy period


@dataclass(slots=True, eq=False)
class Flow:
    """One accepted command: the resource that it creates, and the time of its acceptance (UTC)."""

    kind: str
    resource: str
    at: datetime
    started_at: float = 0.0  # of the event loop's clock
    batch: int | None = None  # None until the store has the flow
    durable: bool = True  # whether the store has the flow or will have it
    batched: datetime | None = None  # time at which that batch was written
    attempts: int = 0  # number of repetitions of its command
    checked_at: datetime | None = None  # time of the last check
    due: datetime | None = None  # time of the next check
    ended: bool = False


class Batch(msgspec.Struct):
    """The value of one batch in the store."""

    flows: list[tuple[str, str, int]]  # kind, resource, Unix time in seconds


@dataclass(slots=True)
class Batches:
    """The batches that still hold a flow, ascending, because batches are only appended."""

    next: int = 0
    marked: int = 0
    flows: dict[int, dict[Flow, None]] = field(default_factory=dict)  # sets with a sequence

    @property
    def first(self) -> int:
        """The number of the first batch with a flow that has not ended."""
        return next(iter(self.flows), self.next)

    def put(self, flow: Flow, batch: int, at: datetime) -> None:
        """Move a flow into a batch, which was written at this time."""
        self.remove(flow)
        flow.batch, flow.batched = batch, at
        self.flows.setdefault(batch, {})[flow] = None

    def remove(self, flow: Flow) -> None:
        """Remove a flow from its batch."""
        if flow.batch is None:
            return
        remaining = self.flows.get(flow.batch)
        if remaining is not None:
            remaining.pop(flow, None)
            if not remaining:
                del self.flows[flow.batch]


class Journal:
    """The journal of one gateway replica."""

    def __init__(self, store: Store, pod_name: str, now: Callable[[], datetime]) -> None:
        self.store = store
        self.pod_name = pod_name
        self.now = now
        self.open: dict[tuple[str, str], Flow] = {}
        """The flows that have not ended, by kind and resource."""
        self._unscheduled: dict[tuple[str, str], Flow] = {}
        self._new: list[Flow] = []
        self.batches = Batches()
        self._has_new_flows = asyncio.Event()
        self._flushed = asyncio.Event()
        self._linger = 0.0
        self._resumed = asyncio.Event()

    @property
    def resumed(self) -> bool:
        """True once the flows of an earlier process have been loaded."""
        return self._resumed.is_set()

    @property
    def count(self) -> int:
        """The number of flows that have not ended."""
        return len(self.open)

    def flows(self) -> list[Flow]:
        """Return all flows that have not ended."""
        return list(self.open.values())

    def get(self, kind: str, resource: str) -> Flow | None:
        """Return the flow, or None if it is unknown or has ended."""
        return self.open.get((kind, resource))

    def add(self, kind: str, resource: str, *, durable: bool = True) -> tuple[Flow, bool]:
        """Add a flow or return the existing one, and whether it is new; raise Problem 503 if full.

        The store has the flow once `written` returns. A restart loses a flow that is not durable.
        """
        known = self.open.get((kind, resource))
        if known is not None:
            if durable and not known.durable:
                self.queue(known)
            return known, False
        if len(self.open) >= FLOWS_MAX:
            raise unavailable(f"{FLOWS_MAX} accepted requests have not ended yet; try again later")
        flow = Flow(kind, resource, self.now(), asyncio.get_running_loop().time(), durable=False)
        self.open[kind, resource] = flow
        self._unscheduled[kind, resource] = flow
        if durable:
            self.queue(flow)
        return flow, True

    def queue(self, flow: Flow) -> None:
        """Queue a flow for the next batch."""
        flow.durable = True
        self._new.append(flow)
        self._has_new_flows.set()

    async def written(self, flow: Flow, seconds_max: float) -> bool:
        """Wait until the store has the flow; return False if it has not after `seconds_max`.

        The writer keeps trying in either case.
        """
        loop = asyncio.get_running_loop()
        share = min(LINGER_SHARE * (loop.time() - flow.started_at), LINGER_SECONDS_MAX)
        self._linger += (LINGER_RISE if share > self._linger else LINGER_FALL) * (share - self._linger)
        until = loop.time() + seconds_max
        while flow.batch is None and not flow.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._flushed.wait()
            if loop.time() >= until:
                break
        return flow.batch is not None

    def end(self, flow: Flow) -> None:
        """Remove a flow that has ended."""
        if self.open.get((flow.kind, flow.resource)) is flow:
            del self.open[flow.kind, flow.resource]
            self._unscheduled.pop((flow.kind, flow.resource), None)
        flow.ended = True
        self.batches.remove(flow)

    # --- Called by the reconciler and the recovery

    def take_unscheduled(self) -> list[Flow]:
        """Return the new flows since the last call; the reconciler schedules their first checks."""
        new, self._unscheduled = list(self._unscheduled.values()), {}
        return new

    def set_resumed(self) -> None:
        """Note that the flows of an earlier process are loaded; the first write follows."""
        self._resumed.set()

    # --- Background work

    async def write(self) -> None:
        """Write batches until cancelled, once `resume` has found the number of the next one."""
        await self._resumed.wait()
        while True:
            await self._has_new_flows.wait()
            await asyncio.sleep(self._linger)
            try:
                await self.flush()
            except TransientError as fault:
                log.warning("accepted commands are not in the store yet; retrying: %s", fault)
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write one batch with the new flows.

        Raise TransientError and keep the flows for the next batch.
        """
        taken, self._new = self._new[:BATCH_FLOWS_MAX], self._new[BATCH_FLOWS_MAX:]
        flows = [flow for flow in taken if not flow.ended]
        try:
            number = await self._insert(flows) if flows else None
        except TransientError:
            self._new = flows + self._new
            raise
        if number is not None:
            for flow in flows:
                if not flow.ended:
                    self.batches.put(flow, number, self.now())
        if not self._new:
            self._has_new_flows.clear()
        flushed, self._flushed = self._flushed, asyncio.Event()
        flushed.set()

    async def _insert(self, flows: Sequence[Flow]) -> int:
        """Insert a batch under the first free number, and return that number.

        If a response of the store is lost, two batches may hold the same flows.
        """
        batch = Batch([(flow.kind, flow.resource, int(flow.at.timestamp())) for flow in flows])
        while True:
            number = self.batches.next
            try:
                await self.store.save(
                    batch_key(self.pod_name, number), msgspec.json.encode(batch), None, ttl_seconds=RETENTION_SECONDS
                )
            except Conflict as conflict:
                value, _ = await self.store.load(batch_key(self.pod_name, number))
                if value is None:
                    raise TransientError(str(conflict)) from conflict
                self.batches.next = number + 1
                continue
            self.batches.next = number + 1
            return number


def batch_key(pod_name: str, number: int) -> str:
    """Return the key of one batch of a replica."""
    return f"accepted:{pod_name}:{number}"
