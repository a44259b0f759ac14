"""The results of a measurement, and its elements: orders alone, and many orders held at once."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.bodies import LARGEST_KB
from bench.load import Call, Load, ask, closed_loop, percentile
from bench.shopper import Shopper
from bench.systems import BASELINE, COPY, OURS
from bench.usage import cpu_seconds, spent

LEVELS = (1, 8, 64, 512)
HELD = 64  # the level that is compared between the systems
BODIES_KB = (1, 10, LARGEST_KB)  # at HELD; the levels have the body of one item
SHARES = (25, 50, 75)  # percent of saturation
PAUSE_SECONDS = 0.03
"""The pause before each request that is sent alone, to both systems: after a pause a machine
answers about 50 % later.
"""
WARM_SECONDS = 3.0
OWN = "load generator"


@dataclass(frozen=True, slots=True)
class Plan:
    """The amount of measurement; more gives steadier results."""

    users: int = 1_000
    rounds: int = 5
    alone: int = 200
    seconds: float = 5.0
    levels: Sequence[int] = LEVELS
    bodies_kb: Sequence[int] = BODIES_KB
    shares: Sequence[int] = SHARES
    floors: bool = True


@dataclass(slots=True)
class Level:
    """The results with this many orders held at once."""

    held: Load
    completed_per_second: float
    cpu_ms: dict[str, float]
    """CPU time per completed order in milliseconds, by process."""
    others_percent: float = 0.0
    """CPU time of the other systems meanwhile, in percent of one core: they should be idle."""

    @property
    def shop_cpu_ms(self) -> float:
        """The CPU time of all processes except the load generator."""
        return sum(ms for name, ms in self.cpu_ms.items() if name != OWN)


@dataclass(slots=True)
class Turn:
    """One turn of one system."""

    alone: Load = field(default_factory=Load)
    mail_alone: Load = field(default_factory=Load)
    floor_alone: Load = field(default_factory=Load)
    floor_one: Load = field(default_factory=Load)
    """One caller that sends the next request right after each response, so that no process rests.
    """
    floor_held: Load = field(default_factory=Load)
    levels: dict[int, Level] = field(default_factory=dict)
    bodies: dict[int, Level] = field(default_factory=dict)
    """By thousand bytes of an order's body, with `HELD` orders held."""
    open: dict[int, tuple[float, Load]] = field(default_factory=dict)
    """By percent of saturation: the rate in orders a second, and the callers' load."""

    @property
    def statuses(self) -> Counter[int]:
        """The number of orders in closed loops by response status."""
        levels = (*self.levels.values(), *self.bodies.values())
        return sum((level.held.statuses for level in levels), self.alone.statuses)


@dataclass(slots=True)
class Measured:
    """One system on one broker, over all rounds."""

    turns: list[Turn] = field(default_factory=list)
    resident_mib: dict[str, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds_to_ready: float = 0.0

    @property
    def answers(self) -> Counter[int]:
        """The number of orders and floor requests by response status."""
        floors = (load for turn in self.turns for load in (turn.floor_alone, turn.floor_one, turn.floor_held))
        return sum((load.statuses for load in floors), self.statuses)

    def median(self, value: Callable[[Turn], float]) -> float:
        """Return the median over the rounds."""
        return statistics.median(map(value, self.turns))

    def spread(self, value: Callable[[Turn], float]) -> tuple[float, float]:
        """Return the smallest and the largest value of the rounds."""
        values = list(map(value, self.turns))
        return min(values), max(values)


@dataclass(slots=True)
class Result:
    """The systems on one broker."""

    broker: str
    plan: Plan
    systems: dict[str, Measured]

    def ratios(self, value: Callable[[Turn], float]) -> list[float]:
        """Return our value as a multiple of the baseline's in the same round, for each round."""
        return ratios(self.systems[OURS].turns, self.systems[BASELINE].turns, value)

    def noise(self, value: Callable[[Turn], float]) -> list[float]:
        """Return the value of our copy as a multiple of ours in the same round, for each round."""
        return ratios(self.systems[COPY].turns, self.systems[OURS].turns, value)


def ratios(turns: Sequence[Turn], others: Sequence[Turn], value: Callable[[Turn], float]) -> list[float]:
    """Return the first as a multiple of the second, round by round."""
    return [value(turn) / value(other) for turn, other in zip(turns, others, strict=True)]


def ratio(turns: Sequence[Turn], others: Sequence[Turn], value: Callable[[Turn], float]) -> float:
    """Return the first as a multiple of the second, round by round: the median of the rounds."""
    return statistics.median(ratios(turns, others, value))


def p(percent: float, pick: Callable[[Turn], Load]) -> Callable[[Turn], float]:
    """Return a function for this percentile of a load, in milliseconds."""
    return lambda turn: percentile(pick(turn).milliseconds, percent)


def at_level(held: int, value: Callable[[Level], float]) -> Callable[[Turn], float]:
    """Return a function for a value of the load with this many orders held."""
    return lambda turn: value(turn.levels[held])


def with_body(kilobytes: int, value: Callable[[Level], float]) -> Callable[[Turn], float]:
    """Return a function for a value of the load with bodies of this size."""
    return lambda turn: value(turn.bodies[kilobytes])


def held_per_second(level: Level) -> float:
    """Return the held orders a second."""
    return level.held.per_second


def completed_per_second(level: Level) -> float:
    """Return the completed orders a second."""
    return level.completed_per_second


def shop_cpu_ms(level: Level) -> float:
    """Return the CPU time of a completed order, without the load generator."""
    return level.shop_cpu_ms


def held_p(percent: float) -> Callable[[Level], float]:
    """Return a function for this percentile of the held orders, in milliseconds."""
    return lambda level: percentile(level.held.milliseconds, percent)


def rate_at(share: int) -> Callable[[Turn], float]:
    """Return a function for the rate of the open loop, in orders a second."""
    return lambda turn: turn.open[share][0]


def open_at(share: int) -> Callable[[Turn], Load]:
    """Return a function for the load of the open loop."""
    return lambda turn: turn.open[share][1]


async def calls_alone(call: Call, times: int) -> Load:
    """Send each request after the response to the one before, and a pause."""
    load = Load()
    for _ in range(times):
        await asyncio.sleep(PAUSE_SECONDS)
        await ask(call, load)
    return load


async def orders_alone(shopper: Shopper, turn: Turn, times: int) -> None:
    """Place each order after the mail of the one before, so that nothing else happens while it is
    held.
    """
    for _ in range(times):
        await asyncio.sleep(PAUSE_SECONDS)
        started = time.perf_counter()
        await ask(shopper.order, turn.alone)
        await shopper.settle()
        turn.mail_alone.milliseconds.append((time.perf_counter() - started) * 1000)


async def level_of(shopper: Shopper, at_once: int, seconds: float) -> Level:
    """Hold this many orders at once for this many seconds; also measure the CPU time per completed
    order.
    """
    before, first, started = cpu_seconds(processes_of(shopper)), shopper.orders, time.perf_counter()
    held = await closed_loop(shopper.order, at_once, seconds)
    await shopper.settle()
    orders, took = shopper.orders - first, time.perf_counter() - started
    return Level(held, orders / took, spent(before, cpu_seconds(processes_of(shopper)), orders))


def processes_of(shopper: Shopper) -> dict[str, int]:
    """Return the pids of the shopper's system by name, and that of this process."""
    return {OWN: os.getpid(), **shopper.system.processes()}
