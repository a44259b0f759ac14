"""Loads: so many callers in a closed loop, or requests at a constant rate whether or not those before are answered."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

Call = Callable[[], Awaitable[int]]
"""Asks once and returns the status of the answer."""


@dataclass(slots=True)
class Load:
    """What the callers saw."""

    milliseconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def answers(self) -> int:
        """How many there were."""
        return len(self.milliseconds)

    @property
    def per_second(self) -> float:
        """Answers a second, from the first question to the last answer."""
        return self.answers / self.seconds


async def ask(call: Call, load: Load, due: float | None = None) -> None:
    """Ask once and write down how long it took, since it was due if that is known (a time of perf_counter)."""
    started = time.perf_counter() if due is None else due
    status = await call()
    load.milliseconds.append((time.perf_counter() - started) * 1000)
    load.statuses[status] += 1


async def closed_loop(call: Call, at_once: int, seconds: float) -> Load:
    """Keep so many callers asking for so long, and wait for the last answers."""
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
    """Ask at a constant rate for so long.

    Each time is counted from the moment that the request was due: when answers are late, what should have been asked
    meanwhile is late too, and says so (a closed loop would leave it out: coordinated omission).
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
    """The smallest value that so many percent of the values do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
