"""The cost of one order as things grow: its body, its user's orders, the replicas of a service and
of the gateway.

The cost of an order is its latency alone and the CPU time of all processes. It should not grow with
the user's orders or with replicas; a larger body costs in proportion to its bytes.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.bodies import ITEM, Item, items_of, price_list
from bench.load import Load, ask, closed_loop
from bench.measure import WARM_SECONDS, Turn, level_of, orders_alone
from bench.shopper import Shopper
from bench.systems import of_shop
from bench.unpaced import UNPACED
from sidecart.launcher.lifecycle.system import Options, System

Say = Callable[[str], None]

USERS = 200
AT_ONCE = 16
BODY_KB = (1, 5, 10)
REPLICAS = (1, 2, 3)
GATEWAYS = (1, 2, 3, 10)
PLACING = 64  # concurrent callers that place the user's orders in advance
PORTION = 5_000  # orders placed before the next wait for their mails


@dataclass(frozen=True, slots=True)
class Plan:
    """The amount of measurement at each size."""

    rounds: int
    alone: int
    seconds: float
    orders_of_one: Sequence[int]


FULL = Plan(5, 30, 4.0, (1, 1_000, 100_000))
QUICK = Plan(1, 20, 3.0, (1, 1_000))


@dataclass(slots=True)
class Grown:
    """The cost of an order at one size of one dimension, over the rounds."""

    what: str
    size: int
    turns: list[Turn] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """The statuses of all responses."""
        return sum((turn.statuses for turn in self.turns), Counter())


@dataclass(frozen=True, slots=True)
class Size:
    """One size of one dimension, with the shopper that measures it."""

    size: int
    shopper: Shopper
    items: Sequence[Item] = (ITEM,)


def grow(say: Say, plan: Plan = FULL) -> list[list[Grown]]:
    """Measure all dimensions on Redis: a list per dimension, its sizes in ascending order."""
    return asyncio.run(_grow(say, plan))


async def _grow(say: Say, plan: Plan) -> list[list[Grown]]:
    """Measure the dimensions one after the other, but the sizes of one in turns.

    The speed of the machine varies from minute to minute; turns spread that over all sizes.
    """
    found: list[list[Grown]] = []
    plain = Options("redis", folder=Path(), env=UNPACED)

    async def measure(what: str, sizes: Sequence[Size]) -> None:
        found.append([Grown(what, each.size) for each in sizes])
        pairs = list(zip(sizes, found[-1], strict=True))
        for number in range(plan.rounds):
            for size, grown in pairs[::-1] if number % 2 else pairs:
                grown.turns.append(await _turn(size, plan))
            say(f"{what}: round {number + 1} of {plan.rounds}")

    async with _shopping(plain, say) as shopper:
        await measure("KB of an order's body", [Size(each, shopper, items_of(each)) for each in BODY_KB])
    for what, options in {
        "replicas of the Order Service": {each: replace(plain, replicas={"order": each}) for each in REPLICAS},
        "gateways (more than one are behind a proxy)": {each: replace(plain, gateways=each) for each in GATEWAYS},
    }.items():
        async with AsyncExitStack() as stack:
            shoppers = {size: await stack.enter_async_context(_shopping(each, say)) for size, each in options.items()}
            await measure(what, [Size(size, each) for size, each in shoppers.items()])
    async with AsyncExitStack() as stack:
        sizes = []
        for orders in plan.orders_of_one:
            shopper = await stack.enter_async_context(_shopping(plain, say))
            await shopper.order_as_one_user()
            await _place(shopper, orders, say)
            sizes.append(Size(orders, shopper))
        await measure("orders of the only user at the start", sizes)
    return found


async def _turn(size: Size, plan: Plan) -> Turn:
    turn, shopper = Turn(), size.shopper
    shopper.items = size.items
    await orders_alone(shopper, turn, plan.alone)
    turn.levels[AT_ONCE] = await level_of(shopper, AT_ONCE, plan.seconds)
    return turn


@asynccontextmanager
async def _shopping(options: Options, say: Say) -> AsyncIterator[Shopper]:
    """Start a shop, register users and warm it up; yield its shopper."""
    with tempfile.TemporaryDirectory(prefix="sidecart-growth-") as name:
        folder = Path(name)
        env = {**options.env, "PRICE_LIST": str(price_list(folder))}
        with System(replace(options, folder=folder, env=env), say) as shop:
            async with Shopper(of_shop(shop)) as shopper:
                await shopper.register(USERS)
                await _warm(shopper)
                yield shopper


async def _warm(shopper: Shopper) -> None:
    await closed_loop(shopper.order, AT_ONCE, WARM_SECONDS)
    await shopper.settle()


async def _place(shopper: Shopper, orders: int, say: Say) -> None:
    """Place this many orders in portions, and wait for the mails of each portion.

    Responses arrive earlier than mails, so an unlimited run would build up a backlog.
    """
    for first in range(0, orders, PORTION):
        remaining, load = iter(range(min(PORTION, orders - first))), Load()

        async def caller(remaining: Iterator[int] = remaining, load: Load = load) -> None:
            for _ in remaining:
                await ask(shopper.order, load)

        async with asyncio.TaskGroup() as group:
            for _ in range(PLACING):
                group.create_task(caller())
        await shopper.settle()
        if set(load.statuses) != {201}:
            raise RuntimeError(f"orders were not answered 201: {dict(load.statuses)}")
        if orders > PORTION:
            say(f"  {first + load.answers:,} of {orders:,} orders placed")
