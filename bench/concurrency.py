"""Many requests held at once on one gateway: orders while the Order Service is stopped, and what a newcomer feels."""

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
AT_ONCE = 200  # who come at the same moment
READY_SECONDS = 60.0


@dataclass(slots=True)
class ConcurrencyLevel:
    """So many requests held at once."""

    held: int
    statuses: Counter[int] = field(default_factory=Counter)
    """Of those that were held; 202 is what all of them should get."""
    fresh: Load = field(default_factory=Load)
    """Registrations one by one, meanwhile."""
    fresh_before: Load = field(default_factory=Load)
    answered_early: int = 0
    """Of those that were to be held, when the last newcomer was served: a level that was not reached."""
    gateway_mib: float = 0.0

    @property
    def errors(self) -> int:
        """How many were neither accepted nor made, or not held for long enough."""
        lost = self.statuses.total() - self.statuses[201] - self.statuses[202]
        return self.answered_early + lost + self.fresh.statuses.total() - self.fresh.statuses[201]

    @property
    def ratio(self) -> float:
        """The median time of a fresh request, as a multiple of what it was with nobody held."""
        return percentile(self.fresh.milliseconds, 50) / percentile(self.fresh_before.milliseconds, 50)


async def concurrency(shopper: Shopper, sizes: Sequence[int], say: Callable[[str], None]) -> list[ConcurrencyLevel]:
    """One after the other, each with the Order Service stopped, which goes on with all of them afterwards."""
    found = []
    for size in sizes:
        level = ConcurrencyLevel(size)
        for _ in range(FRESH):
            await ask(shopper.newcome, level.fresh_before)
        shopper.system.stop("order")  # by this thread: a process dies with the one that started it
        await _hold(shopper, level)
        shopper.system.start("order")
        await shopper.settle()  # every one of them is carried through, and leaves the next level alone
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
            await ask(shopper.newcome, level.fresh)
        level.answered_early = level.statuses.total()
        level.gateway_mib = psutil.Process(shopper.system.processes()["gateway"]).memory_info().rss / 2**20
