"""What one order costs as things grow: its body, the orders of its user, the replicas of a service and of the gateway.

What must not grow with them: the time of an order alone, and the CPU time of all processes for one.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Load, ask, closed_loop
from bench.measure import OWN, Level, Turn, level_of, orders_alone
from bench.shopper import Item, Shopper
from bench.systems import of_shop
from cli.shop import Options, Shop

Say = Callable[[str], None]

USERS = 200
ALONE = 100
HELD = 16
SECONDS = 10.0
WARM_SECONDS = 3.0
BODY_KB = (1, 10, 100)
ORDERS_OF_ONE = (1, 1_000, 100_000)
REPLICAS = (1, 2, 3)
AT_ONCE = 64  # who place the orders that a user is to have
PROGRESS_ORDERS = 10_000
SKU = "x" * 64  # as long as it may be, so that a large body has no more items than are allowed


@dataclass(slots=True)
class Grown:
    """The cost of an order at one size of one thing."""

    what: str
    size: int
    alone: Load
    level: Level

    @property
    def cpu_ms(self) -> float:
        """Of all processes but the load generator, for each completed order."""
        return sum(ms for name, ms in self.level.cpu_ms.items() if name != OWN)


def items_of(kilobytes: int) -> list[Item]:
    """As many items as make an order's body of about so many thousand bytes."""
    item: Item = {"sku": SKU, "quantity": 2, "unit_price_cents": 450}
    return [item] * max(1, round(kilobytes * 1_000 / len(json.dumps(item) + ", ")))


def grow(say: Say) -> list[Grown]:
    """Measure all of it on Redis; what is compared within one shop is, and shops of other sizes follow one another."""
    return asyncio.run(_grow(say))


async def _grow(say: Say) -> list[Grown]:
    found: list[Grown] = []

    async def measure(what: str, size: int, shopper: Shopper) -> None:
        turn = Turn()
        await orders_alone(shopper, turn, ALONE)
        grown = Grown(what, size, turn.alone, await level_of(shopper, HELD, SECONDS))
        say(f"{what}: {size:,}: {grown.level.completed_per_second:.0f} orders/s, {grown.cpu_ms:.1f} ms of CPU each")
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
            await measure("gateways", gateways, shopper)
    async with _shopping(plain, say) as shopper:
        for orders in ORDERS_OF_ONE:
            await shopper.leave_it_to_one()
            await _place(shopper, orders, say)
            await measure("orders that the user has", orders, shopper)
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
    await closed_loop(shopper.order, HELD, WARM_SECONDS)
    await shopper.settle()


async def _place(shopper: Shopper, orders: int, say: Say) -> None:
    """So many orders, and wait for their mails."""
    left, load = iter(range(1, orders + 1)), Load()

    async def caller() -> None:
        for number in left:
            await ask(shopper.order, load)
            if number % PROGRESS_ORDERS == 0:
                say(f"  {number:,} of {orders:,} orders placed")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller())
    await shopper.settle()
