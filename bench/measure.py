"""The measurement on one broker: both systems in turns, in one run, in several rounds."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Call, Load, ask, closed_loop, open_loop, percentile
from bench.shopper import Shopper
from bench.systems import BASELINE, OURS, Contender, both
from bench.usage import cpu_seconds, resident_mib, spent

LEVELS = (1, 8, 64, 512)
HELD = 64  # the level that is compared between the systems
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
    shares: Sequence[int] = SHARES
    floors: bool = True


@dataclass(slots=True)
class Level:
    """The results with this many orders held at once."""

    held: Load
    completed_per_second: float
    cpu_ms: dict[str, float]
    """CPU time per completed order in milliseconds, by process."""

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
    open: dict[int, tuple[float, Load]] = field(default_factory=dict)
    """By percent of saturation: the rate in orders a second, and the callers' load."""

    @property
    def statuses(self) -> Counter[int]:
        """The number of orders in closed loops by response status."""
        return sum((level.held.statuses for level in self.levels.values()), self.alone.statuses)


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
    """Both systems on one broker."""

    broker: str
    plan: Plan
    systems: dict[str, Measured]

    def ratio(self, value: Callable[[Turn], float]) -> float:
        """Return our value as a multiple of the baseline's in the same round: the median over the
        rounds.
        """
        return ratio(self.systems[OURS].turns, self.systems[BASELINE].turns, value)


def ratio(turns: Sequence[Turn], others: Sequence[Turn], value: Callable[[Turn], float]) -> float:
    """Return the first as a multiple of the second, round by round: the median of the rounds."""
    return statistics.median(value(turn) / value(other) for turn, other in zip(turns, others, strict=True))


def p(percent: float, pick: Callable[[Turn], Load]) -> Callable[[Turn], float]:
    """Return a function for this percentile of a load, in milliseconds."""
    return lambda turn: percentile(pick(turn).milliseconds, percent)


def held_at(level: int) -> Callable[[Turn], Load]:
    """Return a function for the load with this many orders held."""
    return lambda turn: turn.levels[level].held


def held_per_second(level: int) -> Callable[[Turn], float]:
    """Return a function for held orders a second."""
    return lambda turn: turn.levels[level].held.per_second


def completed_per_second(level: int) -> Callable[[Turn], float]:
    """Return a function for completed orders a second."""
    return lambda turn: turn.levels[level].completed_per_second


def rate_at(share: int) -> Callable[[Turn], float]:
    """Return a function for the rate of the open loop, in orders a second."""
    return lambda turn: turn.open[share][0]


def open_at(share: int) -> Callable[[Turn], Load]:
    """Return a function for the load of the open loop."""
    return lambda turn: turn.open[share][1]


def measure(broker: str, folder: Path, plan: Plan, say: Callable[[str], None]) -> Result:
    """Start both systems and measure them in turns."""
    with both(broker, folder, say) as systems:
        return asyncio.run(_rounds(broker, systems, plan, say))


async def _rounds(broker: str, systems: Sequence[Contender], plan: Plan, say: Callable[[str], None]) -> Result:
    async with AsyncExitStack() as stack:
        shoppers = [await stack.enter_async_context(Shopper(each)) for each in systems]
        result = Result(broker, plan, {each.name: Measured(seconds_to_ready=each.seconds_to_ready) for each in systems})
        say(f"registering {plan.users} users at each, each with a deposit")
        for shopper in shoppers:
            await shopper.register(plan.users)
            for call in (shopper.floor, shopper.order):
                await closed_loop(call, HELD, WARM_SECONDS)
            await shopper.settle()
            shopper.statuses.clear()
        rates: dict[str, float] = {}
        for number in range(1, plan.rounds + 1):
            turns = {each.system.name: Turn() for each in shoppers}
            order = shoppers if number % 2 else shoppers[::-1]
            await _round(order, turns, rates, plan)
            for name, turn in turns.items():
                result.systems[name].turns.append(turn)
            say(f"round {number} of {plan.rounds}: " + "; ".join(_summary(name, turn) for name, turn in turns.items()))
        for shopper in shoppers:
            measured = result.systems[shopper.system.name]
            measured.resident_mib = resident_mib(_processes(shopper))
            measured.statuses = shopper.statuses
    return result


def _summary(name: str, turn: Turn) -> str:
    level = turn.levels[HELD]
    return (
        f"{name} {percentile(turn.alone.milliseconds, 50):.1f} ms alone, "
        f"{level.held.per_second:.0f} held and {level.completed_per_second:.0f} completed orders/s"
    )


async def _round(shoppers: Sequence[Shopper], turns: Mapping[str, Turn], rates: dict[str, float], plan: Plan) -> None:
    for shopper in shoppers:
        turn = turns[shopper.system.name]
        if plan.floors:
            turn.floor_alone = await _alone(shopper.floor, plan.alone // 2)
            turn.floor_one = await closed_loop(shopper.floor, 1, plan.seconds)
        await orders_alone(shopper, turn, plan.alone)
    if plan.floors:
        for shopper in shoppers:
            turns[shopper.system.name].floor_held = await closed_loop(shopper.floor, HELD, plan.seconds)
    for level in plan.levels:
        for shopper in shoppers:
            turns[shopper.system.name].levels[level] = await level_of(shopper, level, plan.seconds)
    for shopper in shoppers:
        name = shopper.system.name
        saturation = rates.setdefault(name, turns[name].levels[HELD].completed_per_second)
        for share in plan.shares:
            rate = saturation * share / 100
            load = await open_loop(shopper.order, rate, plan.seconds)
            await shopper.settle()
            turns[name].open[share] = rate, load


async def _alone(call: Call, times: int) -> Load:
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
    before, first, started = cpu_seconds(_processes(shopper)), shopper.orders, time.perf_counter()
    held = await closed_loop(shopper.order, at_once, seconds)
    await shopper.settle()
    orders, took = shopper.orders - first, time.perf_counter() - started
    return Level(held, orders / took, spent(before, cpu_seconds(_processes(shopper)), orders))


def _processes(shopper: Shopper) -> dict[str, int]:
    return {OWN: os.getpid(), **shopper.system.processes()}
