"""The measurement on one broker: all systems in turns, in one run, in several rounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from bench.bodies import Item, items_of
from bench.load import closed_loop, open_loop, percentile
from bench.measure import (
    HELD,
    WARM_SECONDS,
    Level,
    Measured,
    Plan,
    Result,
    Turn,
    calls_alone,
    level_of,
    orders_alone,
    processes_of,
)
from bench.shopper import Shopper
from bench.systems import Contender, side_by_side
from bench.usage import cpu_seconds, resident_mib


def measure(broker: str, folder: Path, plan: Plan, say: Callable[[str], None]) -> Result:
    """Start the systems and measure them in turns.

    The copy of our shop shows the noise: it differs from the first one by chance only, and takes
    part in every round.
    """
    with side_by_side(broker, folder, say) as systems:
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
            # The baseline stays in the middle, so each system has the same mean position.
            order = shoppers if number % 2 else shoppers[::-1]
            await _round(order, turns, rates, plan)
            for name, turn in turns.items():
                result.systems[name].turns.append(turn)
            say(f"round {number} of {plan.rounds}: " + "; ".join(_summary(name, turn) for name, turn in turns.items()))
        for shopper in shoppers:
            measured = result.systems[shopper.system.name]
            measured.resident_mib = resident_mib(processes_of(shopper))
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
            turn.floor_alone = await calls_alone(shopper.floor, plan.alone // 2)
            turn.floor_one = await closed_loop(shopper.floor, 1, plan.seconds)
        await orders_alone(shopper, turn, plan.alone)
    if plan.floors:
        for shopper in shoppers:
            turns[shopper.system.name].floor_held = await closed_loop(shopper.floor, HELD, plan.seconds)
    for level in plan.levels:
        for shopper in shoppers:
            turns[shopper.system.name].levels[level] = await _level(shopper, shoppers, level, plan.seconds)
    for kilobytes in plan.bodies_kb:
        for shopper in shoppers:
            with _items(shopper, items_of(kilobytes)):
                turns[shopper.system.name].bodies[kilobytes] = await _level(shopper, shoppers, HELD, plan.seconds)
    for shopper in shoppers:
        await _open(shopper, turns[shopper.system.name], rates, plan)


async def _level(shopper: Shopper, shoppers: Sequence[Shopper], held: int, seconds: float) -> Level:
    """Measure one system, and the CPU time of the others meanwhile."""
    others = {
        f"{other.system.name} {name}": pid
        for other in shoppers
        if other is not shopper
        for name, pid in other.system.processes().items()
    }
    before, started = sum(cpu_seconds(others).values()), time.perf_counter()
    level = await level_of(shopper, held, seconds)
    used, took = sum(cpu_seconds(others).values()) - before, time.perf_counter() - started
    level.others_percent = 100 * used / took
    return level


@contextmanager
def _items(shopper: Shopper, items: Sequence[Item]) -> Iterator[None]:
    """Order these items in the block."""
    usual, shopper.items = shopper.items, items
    try:
        yield
    finally:
        shopper.items = usual


async def _open(shopper: Shopper, turn: Turn, rates: dict[str, float], plan: Plan) -> None:
    saturation = rates.setdefault(shopper.system.name, turn.levels[HELD].completed_per_second)
    for share in plan.shares:
        rate = saturation * share / 100
        load = await open_loop(shopper.order, rate, plan.seconds)
        await shopper.settle()
        turn.open[share] = rate, load
