"""Load generators: a closed loop of callers, or an open loop of requests at a constant rate."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

Call = Callable[[], Awaitable[int]]
"""Sends one request and returns the status of the response."""


@dataclass(slots=True)
class Load:
    """The latencies and statuses that the callers saw."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        """The number of responses."""
        return len(self.milliseconds)

    @property
    def per_second(self) -> float:
        """Responses per second, from the first request to the last response."""
        return self.answers / self.seconds


async def ask(call: Call, load: Load, due: float | None = None) -> None:
    """Send one request and record its latency, counted from `due` (a time of perf_counter) if
    given.
    """
    started = time.perf_counter() if due is None else due
    status = await call()
    load.milliseconds.append((time.perf_counter() - started) * 1000)
    load.statuses[status] += 1


async def closed_loop(call: Call, at_once: int, seconds: float) -> Load:
    """Run this many callers for this many seconds, then wait for the last responses."""
    load = Load()
    started = time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - started < seconds:
            await ask(call, load)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(caller())
    load.seconds = time.perf_counter() - started
    return load


async def open_loop(call: Call, per_second: float, seconds: float) -> Load:
    """Send requests at a constant rate for this many seconds.

    Each latency counts from the moment that the request was due. It therefore includes the time
    that a request waited to be sent while earlier responses were late. A closed loop would leave
    that time out (coordinated omission).
    """
    load = Load()
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(max(1, int(per_second * seconds))):
            due = started + number / per_second
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            group.create_task(ask(call, load, due))
    load.seconds = time.perf_counter() - started
    return load


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that this percentage of values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
