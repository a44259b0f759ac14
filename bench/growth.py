"""What one order costs as things grow: its body, the orders of its user, the replicas of a service and of the gateway.

The cost of an order is its time alone, and the CPU time of all processes for one. It should not grow with the orders
that a user has or with replicas; a larger body costs what its bytes cost.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Load, ask, closed_loop
from bench.measure import WARM_SECONDS, Level, Turn, level_of, orders_alone
from bench.shopper import Item, Shopper
from bench.systems import of_shop
from cli.shop import Options, Shop

Say = Callable[[str], None]

USERS = 200
AT_ONCE = 16
BODY_KB = (1, 10, 100)
REPLICAS = (1, 2, 3)
PLACING = 64  # callers that place the orders which a user is to have
PORTION = 5_000  # orders placed before their mails are waited for
SKU = "x" * 64  # as long as it may be, so that a large body has no more items than are allowed


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured at each size."""

    alone: int
    seconds: float
    orders_of_one: Sequence[int]


FULL = Plan(100, 10.0, (1, 1_000, 100_000))
QUICK = Plan(20, 3.0, (1, 1_000))


@dataclass(slots=True)
class Grown:
    """The cost of an order at one size of one thing."""

    what: str
    size: int
    alone: Load
    level: Level


def items_of(kilobytes: int) -> list[Item]:
    """As many items as make an order's body of about so many thousand bytes."""
    item: Item = {"sku": SKU, "quantity": 2, "unit_price_cents": 450}
    return [item] * max(1, round(kilobytes * 1_000 / len(json.dumps(item) + ", ")))


def grow(say: Say, plan: Plan = FULL) -> list[Grown]:
    """Measure all of it, on Redis, one size after the other."""
    return asyncio.run(_grow(say, plan))


async def _grow(say: Say, plan: Plan) -> list[Grown]:
    found: list[Grown] = []

    async def measure(what: str, size: int, shopper: Shopper) -> None:
        turn = Turn()
        await orders_alone(shopper, turn, plan.alone)
        grown = Grown(what, size, turn.alone, await level_of(shopper, AT_ONCE, plan.seconds))
        completed, cpu_ms = grown.level.completed_per_second, grown.level.shop_cpu_ms
        say(f"{what}: {size:,}: {completed:.0f} orders/s, {cpu_ms:.1f} ms of CPU each")
        found.append(grown)

    plain = Options("redis", folder=Path())
    async with _shopping(plain, say) as shopper:
        for kilobytes in BODY_KB:
            shopper.items = items_of(kilobytes)
            await _warm(shopper)
            await measure("KB of an order's body", kilobytes, shopper)
    for replicas in REPLICAS:
        async with _shopping(replace(plain, replicas={"order": replicas}), say) as shopper:
            await measure("replicas of the Order Service", replicas, shopper)
    for gateways in REPLICAS:
        async with _shopping(replace(plain, gateways=gateways), say) as shopper:
            await measure("gateways (more than one are behind a proxy)", gateways, shopper)
    async with _shopping(plain, say) as shopper:
        for orders in plan.orders_of_one:
            await shopper.leave_it_to_one()
            await _place(shopper, orders, say)
            await measure("orders that the one user had at the start", orders, shopper)
    return found


@asynccontextmanager
async def _shopping(options: Options, say: Say) -> AsyncIterator[Shopper]:
    """A shop with some users that is warm."""
    with (
        tempfile.TemporaryDirectory(prefix="sidecart-growth-") as folder,
        Shop(replace(options, folder=Path(folder)), say) as shop,
    ):
        async with Shopper(of_shop(shop)) as shopper:
            await shopper.register(USERS)
            await _warm(shopper)
            yield shopper


async def _warm(shopper: Shopper) -> None:
    await closed_loop(shopper.order, AT_ONCE, WARM_SECONDS)
    await shopper.settle()


async def _place(shopper: Shopper, orders: int, say: Say) -> None:
    """So many orders and their mails, a portion at a time: answers come before mails."""
    for first in range(0, orders, PORTION):
        left, load = iter(range(min(PORTION, orders - first))), Load()

        async def caller(left: Iterator[int] = left, load: Load = load) -> None:
            for _ in left:
                await ask(shopper.order, load)

        async with asyncio.TaskGroup() as group:
            for _ in range(PLACING):
                group.create_task(caller())
        await shopper.settle()
        if set(load.statuses) != {201}:
            raise RuntimeError(f"orders were not answered 201: {dict(load.statuses)}")
        if orders > PORTION:
            say(f"  {first + load.answers:,} of {orders:,} orders placed")
