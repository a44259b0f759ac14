"""Many requests held at once on one gateway: orders while the Order Service is stopped, and the
latency of new requests.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from bench.load import Load, ask, percentile
from bench.shopper import Shopper

CONCURRENCY_LEVELS = (1, 100, 1_000, 10_000)
WAIT_SECONDS = 30
FRESH = 100
AT_ONCE = 200  # requests sent concurrently while the level is built up
READY_SECONDS = 60.0
ANSWERING = "order"
"""The only app that answers the held requests: a level needs it stopped, and the others running."""


@dataclass(slots=True)
class ConcurrencyLevel:
    """The results with this number of requests held at once."""

    held: int
    statuses: Counter[int] = field(default_factory=Counter)
    """The statuses of the held requests; each should get 202."""
    fresh: Load = field(default_factory=Load)
    """Registrations, one after the other, while the requests are held."""
    fresh_before: Load = field(default_factory=Load)
    answered_early: int = 0
    """Held requests that were already answered when the last registration ended; above 0, the level
    was not reached.
    """
    gateway_mib: float = 0.0

    @property
    def errors(self) -> int:
        """The number of requests neither accepted nor created, or not held long enough."""
        lost = self.statuses.total() - self.statuses[201] - self.statuses[202]
        return self.answered_early + lost + self.fresh.statuses.total() - self.fresh.statuses[201]

    @property
    def ratio(self) -> float:
        """The median time of a fresh request, as a multiple of the median without held requests."""
        return percentile(self.fresh.milliseconds, 50) / percentile(self.fresh_before.milliseconds, 50)


async def concurrency(shopper: Shopper, sizes: Sequence[int], say: Callable[[str], None]) -> list[ConcurrencyLevel]:
    """Measure the levels one after the other, each with the Order Service stopped.

    After each level, the Order Service restarts and processes all of its orders.
    """
    found = []
    for size in sizes:
        level = ConcurrencyLevel(size)
        for _ in range(FRESH):
            await ask(shopper.register_one, level.fresh_before)
        # in this thread: a child process ends when the thread that started it ends
        shopper.system.stop(ANSWERING)
        await _hold(shopper, level)
        shopper.system.start(ANSWERING)
        await shopper.settle()  # all orders complete, so that they do not affect the next level
        before, meanwhile = (percentile(load.milliseconds, 50) for load in (level.fresh_before, level.fresh))
        say(f"{size} held: {level.errors} errors, a fresh request {before:.1f} -> {meanwhile:.1f} ms")
        found.append(level)
    return found


async def _hold(shopper: Shopper, level: ConcurrencyLevel) -> None:
    coming = asyncio.Semaphore(AT_ONCE)
    sent, all_sent = 0, asyncio.Event()

    def was_sent() -> None:
        nonlocal sent
        sent += 1
        coming.release()
        if sent == level.held:
            all_sent.set()

    async def one() -> None:
        await coming.acquire()
        level.statuses[await shopper.parked_order(WAIT_SECONDS, was_sent)] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(level.held):
            group.create_task(one())
        await asyncio.wait_for(all_sent.wait(), READY_SECONDS)
        for _ in range(FRESH):
            await ask(shopper.register_one, level.fresh)
        level.answered_early = level.statuses.total()
        level.gateway_mib = psutil.Process(shopper.system.processes()["gateway"]).memory_info().rss / 2**20
