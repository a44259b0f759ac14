"""The recovery of a journal: reads the batches of a replica, and keeps their number small.

`accepted:<pod name>` holds the number of the first batch with a flow that has not ended. A reader
starts there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.store import Store
from sidecart.edge.journal import Batch, Flow, Journal, batch_key
from sidecart.edge.problems import Problem
from sidecart.edge.replicas import OTHERS_SECONDS, Replicas

log = logging.getLogger(__name__)

BATCHES_AT_ONCE = 100  # batches read in one call after a restart
CARRY_SECONDS = 600.0  # flows of an older batch move to a new one, so a restart reads few batches


class _Mark(msgspec.Struct):
    first: int = 0


async def resume(journal: Journal) -> list[Flow]:
    """Load the flows that an earlier process of this pod left; raise TransientError."""
    flows, journal.batches.marked, journal.batches.next = await read(journal.store, journal.pod_name)
    new = [flow for flow in flows if journal.open.setdefault((flow.kind, flow.resource), flow) is flow]
    for flow in new:
        assert flow.batch is not None
        journal.batches.put(flow, flow.batch, journal.now())
    journal.set_resumed()
    return new


async def tidy(journal: Journal) -> None:
    """Move the flows of an old first batch to a new one, and save the first number to read.

    Raise TransientError.
    """
    first, old = journal.batches.first, journal.now() - timedelta(seconds=CARRY_SECONDS)
    for flow in journal.batches.flows.get(first, ()):
        if flow.batched is not None and flow.batched < old:
            flow.batched = None  # the flow is queued for a new batch
            journal.queue(flow)
    if first == journal.batches.marked:
        return
    key = _mark_key(journal.pod_name)
    _, etag = await journal.store.load(key)
    with suppress(Conflict):  # the next call writes it again
        await journal.store.save(key, msgspec.json.encode(_Mark(first)), etag)
        journal.batches.marked = first


async def read(store: Store, pod_name: str) -> tuple[list[Flow], int, int]:
    """Return a replica's flows, its first batch number, and the number after its last batch.

    The flows include those that have ended since their batch was written.
    """
    value, _ = await store.load(_mark_key(pod_name))
    first = number = 0 if value is None else msgspec.json.decode(value, type=_Mark).first
    flows: list[Flow] = []
    while True:
        numbers = range(number, number + BATCHES_AT_ONCE)
        values = await store.load_many([batch_key(pod_name, each) for each in numbers])
        for number, value in zip(numbers, values, strict=True):
            if value is None:
                return flows, first, number
            for kind, resource, at in msgspec.json.decode(value, type=Batch).flows:
                flows.append(Flow(kind, resource, datetime.fromtimestamp(at, UTC), batch=number))
        number = numbers.stop


async def adopt_from_other_replicas(journal: Journal, replicas: Replicas) -> None:
    """Add the flows of replicas that are gone, at regular intervals, until cancelled.

    If another replica still runs, both check its flows, which does no harm.
    """
    seen: dict[str, int] = {}
    while True:
        await asyncio.sleep(OTHERS_SECONDS)
        try:
            await adopt_from_lost(journal, replicas, seen)
        except TransientError as fault:
            log.warning("cannot read the journals of other gateways; retrying: %s", fault)


async def adopt_from_lost(journal: Journal, replicas: Replicas, seen: dict[str, int]) -> None:
    """Add the flows of replicas that are gone now; raise TransientError.

    `seen` has, by replica, the number after the last batch that was read.
    """
    for other in await _with_batches(journal.store, await replicas.lost()):
        await _adopt_from(journal, other, seen)


async def _with_batches(store: Store, pod_names: Sequence[str]) -> list[str]:
    """Return the replicas that ever wrote a batch."""
    keys = [_mark_key(pod_name) for pod_name in pod_names] + [batch_key(pod_name, 0) for pod_name in pod_names]
    values = await store.load_many(keys)
    half = len(pod_names)
    return [name for name, mark, first in zip(pod_names, values[:half], values[half:], strict=True) if mark or first]


async def _adopt_from(journal: Journal, other: str, seen: dict[str, int]) -> None:
    flows, _, following = await read(journal.store, other)
    for flow in flows:
        assert flow.batch is not None
        if flow.batch >= seen.get(other, 0) and journal.get(flow.kind, flow.resource) is None:
            with suppress(Problem):  # the journal is full: known flows have priority
                adopted, _ = journal.add(flow.kind, flow.resource, durable=False)
                adopted.at = flow.at
    seen[other] = following


def _mark_key(pod_name: str) -> str:
    return f"accepted:{pod_name}"
