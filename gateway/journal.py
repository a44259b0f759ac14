"""The journal of accepted commands whose flows have not ended, written to the store before the 201.

`accepted:<pod name>:<n>` is batch n: the flows that began while batch n-1 was being written (group commit). A batch is
inserted and never changed. `accepted:<pod name>` holds the number of the first batch with a flow that has not ended; a
restart reads from there to the first number that is missing. So an accepted request outlives this process, and a broker
that loses all its events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec

from chassis.errors import Conflict, TransientError
from gateway.problems import unavailable

log = logging.getLogger(__name__)

FLOWS_MAX = 100_000  # about 300 bytes each; more accepted commands than that have not ended only when a service is down
BATCH_FLOWS_MAX = 1_000  # 60 KB
BATCHES_AT_ONCE = 100  # read in one call after a restart
RETENTION_SECONDS = 7 * 24 * 3600  # how long the store keeps a batch, and this gateway repeats a command
CARRY_SECONDS = 600.0  # the flows of an older batch move into a new one, so that a restart reads few batches
RETRY_SECONDS = 1.0  # after the store was unreachable
LINGER_SHARE = 0.25  # of the time that replies take now: a batch is written by then, and takes all that begin meanwhile
LINGER_SECONDS_MAX = 0.05
LINGER_RISE, LINGER_FALL = 0.1, 0.5  # a request after a busy time must not wait for what that time taught


class Store(Protocol):
    """What the journal needs of a sidecar; each call raises TransientError when it could not be made."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for those that are not there."""

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still holds, or with None if the key is free; raise Conflict otherwise."""


@dataclass(slots=True, eq=False)
class Flow:
    """One accepted command: what it makes, and since when (UTC). `batch` is None until the store has it."""

    kind: str
    resource: str
    at: datetime
    started_at: float = 0.0  # of the event loop's clock
    batch: int | None = None
    durable: bool = True  # whether the store has it or will have it
    batched: datetime | None = None  # when it went into that batch
    attempts: int = 0  # how often its command was repeated
    checked_at: datetime | None = None  # when it was checked last
    due: datetime | None = None  # when it is checked next
    ended: bool = False


class _Batch(msgspec.Struct):
    flows: list[tuple[str, str, int]]  # kind, resource, Unix time in seconds


class _Mark(msgspec.Struct):
    first: int = 0


@dataclass(slots=True)
class _Numbers:
    """Which batches still hold a flow; in ascending order, for batches are only ever appended."""

    next: int = 0
    marked: int = 0
    flows: dict[int, set[Flow]] = field(default_factory=dict)

    @property
    def first(self) -> int:
        return next(iter(self.flows), self.next)

    def put(self, flow: Flow, batch: int, at: datetime) -> None:
        self.leave(flow)
        flow.batch, flow.batched = batch, at
        self.flows.setdefault(batch, set()).add(flow)

    def leave(self, flow: Flow) -> None:
        if flow.batch is None:
            return
        left = self.flows.get(flow.batch)
        if left is not None:
            left.discard(flow)
            if not left:
                del self.flows[flow.batch]


class Journal:
    """The journal of one replica."""

    def __init__(self, store: Store, pod_name: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._pod_name = pod_name
        self._now = now
        self._flows: dict[tuple[str, str], Flow] = {}
        self._new: list[Flow] = []
        self._numbers = _Numbers()
        self._wanted = asyncio.Event()
        self._flushed = asyncio.Event()
        self._linger = 0.0
        self._read = asyncio.Event()

    @property
    def resumed(self) -> bool:
        """Whether the flows of an earlier process have been loaded."""
        return self._read.is_set()

    @property
    def count(self) -> int:
        """How many flows have not ended."""
        return len(self._flows)

    def flows(self) -> list[Flow]:
        """All flows that have not ended."""
        return list(self._flows.values())

    def get(self, kind: str, resource: str) -> Flow | None:
        """Return the flow if it has not ended."""
        return self._flows.get((kind, resource))

    def add(self, kind: str, resource: str, *, durable: bool = True) -> tuple[Flow, bool]:
        """Note a flow that begins, or return the one that is noted; says whether it is new. Raise Problem 503 if full.

        The store has it once `written` returns. One that is not durable is forgotten by a restart.
        """
        known = self._flows.get((kind, resource))
        if known is not None:
            if durable and not known.durable:
                self._queue(known)
            return known, False
        if len(self._flows) >= FLOWS_MAX:
            raise unavailable(f"{FLOWS_MAX} accepted requests have not ended yet; try again later")
        flow = Flow(kind, resource, self._now(), asyncio.get_running_loop().time(), durable=False)
        self._flows[kind, resource] = flow
        if durable:
            self._queue(flow)
        return flow, True

    def _queue(self, flow: Flow) -> None:
        flow.durable = True
        self._new.append(flow)
        self._wanted.set()

    async def written(self, flow: Flow, seconds_max: float) -> bool:
        """Wait until the store has the flow; False if it has not within the time. The writer goes on trying."""
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
        """Forget a flow that has ended."""
        if self._flows.get((flow.kind, flow.resource)) is flow:
            del self._flows[flow.kind, flow.resource]
        flow.ended = True
        self._numbers.leave(flow)

    # --- The work

    async def write(self) -> None:
        """Write batches until cancelled, once `resume` has found the number of the next one."""
        await self._read.wait()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._linger)
            try:
                await self.flush()
            except TransientError as fault:
                log.warning("accepted commands are not in the store yet: %s", fault)
                await asyncio.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write one batch with all that has begun; raise TransientError, and then keep it for the next batch."""
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
                    self._numbers.put(flow, number, self._now())
        if not self._new:
            self._wanted.clear()
        flushed, self._flushed = self._flushed, asyncio.Event()
        flushed.set()

    async def _insert(self, flows: Sequence[Flow]) -> int:
        """Insert a batch under the first free number; a lost answer may leave the same flows in two batches."""
        batch = _Batch([(flow.kind, flow.resource, int(flow.at.timestamp())) for flow in flows])
        while True:
            number = self._numbers.next
            try:
                await self._store.save(
                    self._key(number), msgspec.json.encode(batch), None, ttl_seconds=RETENTION_SECONDS
                )
            except Conflict as conflict:
                value, _ = await self._store.load(self._key(number))
                if value is None:
                    raise TransientError(str(conflict)) from conflict
                self._numbers.next = number + 1
                continue
            self._numbers.next = number + 1
            return number

    async def tidy(self) -> None:
        """Move the flows of an old first batch into a new one, and write down where a restart begins to read."""
        first, old = self._numbers.first, self._now() - timedelta(seconds=CARRY_SECONDS)
        for flow in self._numbers.flows.get(first, ()):
            if flow.batched is not None and flow.batched < old:
                flow.batched = None  # it is on its way into a new batch
                self._new.append(flow)
                self._wanted.set()
        if first == self._numbers.marked:
            return
        _, etag = await self._store.load(self._mark_key())
        with suppress(Conflict):  # written anew at the next call
            await self._store.save(self._mark_key(), msgspec.json.encode(_Mark(first)), etag)
            self._numbers.marked = first

    async def resume(self) -> list[Flow]:
        """Load the flows that an earlier process of this name left; raise TransientError."""
        found, first, following = await self.read(self._pod_name)
        self._numbers.next, self._numbers.marked = following, first
        flows = []
        for flow in found:
            if self._flows.setdefault((flow.kind, flow.resource), flow) is flow:
                flows.append(flow)
                assert flow.batch is not None
                self._numbers.put(flow, flow.batch, self._now())
        self._read.set()
        return flows

    async def read(self, pod_name: str) -> tuple[list[Flow], int, int]:
        """Return the flows in a replica's batches, ended or not, its first batch, and the number after its last."""
        value, _ = await self._store.load(_mark_key(pod_name))
        first = number = 0 if value is None else msgspec.json.decode(value, type=_Mark).first
        flows: list[Flow] = []
        while True:
            numbers = range(number, number + BATCHES_AT_ONCE)
            values = await self._store.load_many([_batch_key(pod_name, each) for each in numbers])
            for number, value in zip(numbers, values, strict=True):
                if value is None:
                    return flows, first, number
                for kind, resource, at in msgspec.json.decode(value, type=_Batch).flows:
                    flows.append(Flow(kind, resource, datetime.fromtimestamp(at, UTC), batch=number))
            number = numbers.stop

    def _key(self, number: int) -> str:
        return _batch_key(self._pod_name, number)

    def _mark_key(self) -> str:
        return _mark_key(self._pod_name)


def _batch_key(pod_name: str, number: int) -> str:
    return f"accepted:{pod_name}:{number}"


def _mark_key(pod_name: str) -> str:
    return f"accepted:{pod_name}"
