"""What is measured on one broker: the floor and the shop by turns, in one run, on the same servers."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientSession, TCPConnector

from bench.load import Load, ask, closed_loop, percentile
from bench.pair import Pair
from bench.usage import cpu_seconds, resident_mib, spent
from cli.shop import MAIL_CATCHER, Options, Shop

HELD = 64
ITEM = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
DEPOSIT_CENTS = 10**9
MAILS_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.005
PAUSE_SECONDS = 0.03
"""Before each request that is alone, of the floor and of the shop: a machine that rested answers later, by half."""
WARM_SECONDS = 3.0
OWN = "load generator"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; more gives steadier figures."""

    users: int = 1_000
    rounds: int = 3
    alone: int = 200
    seconds: float = 8.0


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of the floor and one of the shop; times in milliseconds."""

    floor_alone: Load
    floor_in_turn: Load
    floor_held: Load
    order_alone: Load
    order_in_turn: Load
    mail_alone: Load
    order_held: Load
    completed_per_second: float
    cpu_ms_per_order: dict[str, float]


@dataclass(slots=True)
class Result:
    """All rounds on one broker."""

    broker: str
    plan: Plan
    rounds: list[Round] = field(default_factory=list)
    resident_mib: dict[str, float] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)

    def median(self, value: Callable[[Round], float]) -> float:
        """The median over the rounds."""
        return statistics.median(value(each) for each in self.rounds)

    @property
    def p50_ratio(self) -> float:
        """The median of one held order alone, as a multiple of the floor's."""
        return self.median(
            lambda r: percentile(r.order_alone.milliseconds, 50) / percentile(r.floor_alone.milliseconds, 50)
        )

    @property
    def in_turn_ratio(self) -> float:
        """The same, each order right after the answer to the last one, while that one is being paid and told of."""
        return self.median(
            lambda r: percentile(r.order_in_turn.milliseconds, 50) / percentile(r.floor_in_turn.milliseconds, 50)
        )

    @property
    def held_ratio(self) -> float:
        """Held orders a second as a part of the floor's requests a second."""
        return self.median(lambda each: each.order_held.per_second / each.floor_held.per_second)

    @property
    def completed_ratio(self) -> float:
        """Completed orders a second as a part of the floor's requests a second."""
        return self.median(lambda each: each.completed_per_second / each.floor_held.per_second)


class Mails:
    """How many mails the mail server took so far: the number in the last line of its log."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def taken(self) -> int:
        """The number of the newest mail."""
        with self._log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            numbers = re.findall(rb"^mail (\d+) to .*\n", file.read(), re.MULTILINE)
        return int(numbers[-1]) if numbers else 0

    async def wait_for(self, number: int) -> None:
        """Return when so many were taken."""
        async with asyncio.timeout(MAILS_SECONDS_MAX):
            while self.taken() < number:  # noqa: ASYNC110 - a log file has no event to wait for
                await asyncio.sleep(LOOK_SECONDS)


def measure(broker: str, folder: Path, plan: Plan, say: Callable[[str], None]) -> Result:
    """Start a shop and the floor beside it, and measure both by turns."""
    with Shop(Options(broker, folder=folder), say) as shop, Pair(shop) as pair:
        return asyncio.run(_Bench(shop, pair, plan, say).run())


class _Bench:
    def __init__(self, shop: Shop, pair: Pair, plan: Plan, say: Callable[[str], None]) -> None:
        self._shop = shop
        self._pair = pair
        self._plan = plan
        self._say = say
        self._users: list[str] = []
        self._next = 0
        self._mails = Mails(shop.logs / f"{MAIL_CATCHER}.log")
        self._result = Result(shop.options.broker, plan)

    async def run(self) -> Result:
        connector = TCPConnector(limit=0)
        async with (
            ClientSession(self._shop.url, connector=connector, connector_owner=False) as shop,
            ClientSession(self._pair.url, connector=connector) as floor,
        ):
            self._shop_http, self._floor_http = shop, floor
            self._say(f"registering {self._plan.users} users, each with a deposit")
            await self._register()
            for call in (self._floor, self._order):
                await closed_loop(call, HELD, WARM_SECONDS)
            await self._settle()
            for number in range(1, self._plan.rounds + 1):
                self._result.rounds.append(await self._round())
                self._say(f"round {number} of {self._plan.rounds}: {self._summary()}")
            self._result.resident_mib = resident_mib(self._processes())
        return self._result

    def _summary(self) -> str:
        last = self._result.rounds[-1]
        return (
            f"floor {last.floor_held.per_second:.0f} requests/s; "
            f"{last.order_held.per_second:.0f} held and {last.completed_per_second:.0f} completed orders/s"
        )

    def _processes(self) -> dict[str, int]:
        floor = self._pair.processes
        return {OWN: os.getpid(), **{name: pid for name, pid in self._shop.processes.items() if name not in floor}}

    async def _register(self) -> None:
        numbers = iter(range(self._plan.users))
        run = time.time_ns()

        async def register() -> None:
            for number in numbers:
                body = {"email": f"user{number}.{run}@example.com", "name": f"User {number}"}
                user = await self._post("/user/register", body)
                await self._post("/account/deposit", {"user_id": user, "amount_cents": DEPOSIT_CENTS})
                self._users.append(user)

        async with asyncio.TaskGroup() as group:
            for _ in range(HELD):
                group.create_task(register())

    async def _post(self, path: str, body: Mapping[str, object]) -> str:
        async with self._shop_http.post(path, json=body, headers={"prefer": "wait=30"}) as answer:
            answer.raise_for_status()
            return str((await answer.json())["user_id"])

    async def _floor(self) -> int:
        async with self._floor_http.post("/ask") as answer:
            await answer.read()
            return answer.status

    async def _order(self) -> int:
        self._next += 1
        body = {"user_id": self._users[self._next % len(self._users)], "items": [ITEM]}
        async with self._shop_http.post("/order/create", json=body, headers={"prefer": "wait=30"}) as answer:
            await answer.read()
            self._result.statuses[answer.status] += 1
            return answer.status

    async def _settle(self) -> None:
        """Wait until every order so far has its mail: each order ends with one."""
        await self._mails.wait_for(self._next)

    async def _round(self) -> Round:
        floor_alone = await self._floor_alone()
        order_alone, mail_alone = await self._orders_alone()
        floor_in_turn = await closed_loop(self._floor, 1, self._plan.seconds / 4)
        order_in_turn = await closed_loop(self._order, 1, self._plan.seconds / 4)
        await self._settle()
        floor_held = await closed_loop(self._floor, HELD, self._plan.seconds)
        before = cpu_seconds(self._processes())
        first = self._next
        started = time.perf_counter()
        order_held = await closed_loop(self._order, HELD, self._plan.seconds)
        await self._settle()
        orders, seconds = self._next - first, time.perf_counter() - started
        cpu = spent(before, cpu_seconds(self._processes()), orders)
        return Round(
            floor_alone,
            floor_in_turn,
            floor_held,
            order_alone,
            order_in_turn,
            mail_alone,
            order_held,
            orders / seconds,
            cpu,
        )

    async def _floor_alone(self) -> Load:
        load = Load()
        for _ in range(self._plan.alone):
            await asyncio.sleep(PAUSE_SECONDS)
            await ask(self._floor, load)
        return load

    async def _orders_alone(self) -> tuple[Load, Load]:
        """Each order when the one before has its mail: nothing else goes on while it is held."""
        answers, mails = Load(), Load()
        for _ in range(self._plan.alone):
            await asyncio.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            await ask(self._order, answers)
            await self._settle()
            mails.milliseconds.append((time.perf_counter() - started) * 1000)
        return answers, mails
