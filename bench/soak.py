"""A soak test: orders at a constant rate for twenty minutes, with memory, streams and records
sampled.

`sidecart soak` returns 1 if a request was not answered 201. It also returns 1 if an app or a
sidecar grew by more than 5 % over the second half.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from bench.unpaced import UNPACED
from bench.usage import resident_mib
from shop.acting import acting
from sidecart.cli.run import say, stopped_by_signals
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.contents import lengths, state_bytes

USERS = 200
DEPOSIT_CENTS = 1_000_000
ITEM = {"sku": "voucher", "quantity": 1, "unit_price_cents": 100}
SAMPLE_SECONDS = 10.0
GROWTH_MAX = 0.05
CALL_SECONDS_MAX = 60.0
REPORTS = root() / ".sidecart" / "soak"


@dataclass(slots=True)
class Point:
    """One sample of streams and records."""

    seconds: float
    orders: int
    lengths: dict[str, int]
    state_bytes: int


@dataclass(slots=True)
class Soak:
    """The samples and the statuses of one soak test."""

    broker: str
    store: str
    per_second: float
    minutes: float
    statuses: Counter[int] = field(default_factory=Counter)
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)

    @property
    def growth(self) -> dict[str, float]:
        """By process: the growth of its memory from the third to the last quarter of the time, as a
        fraction.
        """
        end = self.memory[-1][0]
        third = [mib for seconds, mib in self.memory if 0.5 * end <= seconds < 0.75 * end]
        fourth = [mib for seconds, mib in self.memory if seconds >= 0.75 * end]

        def median(samples: list[dict[str, float]], name: str) -> float:
            return statistics.median(each[name] for each in samples)

        return {name: median(fourth, name) / median(third, name) - 1 for name in self.memory[-1][1]}

    def bytes_per_order(self, number: int) -> float:
        """Return the bytes of state per order between the first point and the point with this
        index.
        """
        first, point = self.points[0], self.points[number]
        return (point.state_bytes - first.state_bytes) / max(1, point.orders - first.orders)


async def _orders(shop: System, soak: Soak, done: threading.Event) -> None:
    """Place orders at the rate, without waiting for earlier responses."""
    connector, tokens = aiohttp.TCPConnector(limit=1_000), acting(shop.issuer_folder).middleware
    async with aiohttp.ClientSession(shop.url, connector=connector, middlewares=(tokens,)) as http:

        async def register(number: int) -> str:
            body = {"email": f"user{number}.{time.time_ns()}@example.com", "name": f"User {number}"}
            async with http.post("/user/register", json=body) as answer:
                user_id = str((await answer.json())["user_id"])
            money = {"user_id": user_id, "amount_cents": DEPOSIT_CENTS}
            async with http.post("/account/deposit", json=money) as answer:
                answer.raise_for_status()
            return user_id

        users = [await register(number) for number in range(USERS)]

        async def order(user_id: str) -> None:
            try:
                async with (
                    asyncio.timeout(CALL_SECONDS_MAX),
                    http.post(
                        "/order/create", json={"user_id": user_id, "items": [ITEM]}, headers={"prefer": "wait=30"}
                    ) as answer,
                ):
                    soak.statuses[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                soak.statuses[0] += 1

        async with asyncio.TaskGroup() as tasks:
            started, number = time.monotonic(), 0
            while not done.is_set():
                await asyncio.sleep(max(0.0, started + number / soak.per_second - time.monotonic()))
                tasks.create_task(order(users[number % USERS]))
                number += 1


def _point(shop: System, soak: Soak, seconds: float) -> Point:
    return Point(seconds, soak.statuses.total(), lengths(shop), state_bytes(shop))


def soak_shop(shop: System, soak: Soak) -> None:
    """Load the shop and sample it for the configured number of minutes."""
    done = threading.Event()
    load = threading.Thread(target=lambda: asyncio.run(_orders(shop, soak, done)), daemon=True)
    load.start()
    try:
        shop.deadline.until(lambda: soak.statuses.total() > 0, 120, lambda: "the first order was never answered")
        started = time.monotonic()
        due = [0.0, 0.5, 1.0]
        while due:
            seconds = time.monotonic() - started
            if seconds >= due[0] * soak.minutes * 60:
                due.pop(0)
                soak.points.append(_point(shop, soak, seconds))
                point = soak.points[-1]
                events, kib = sum(point.lengths.values()), point.state_bytes / 1024
                say(f"  {seconds / 60:.0f} min: {point.orders} orders, {events} events kept, {kib:.0f} KiB of state")
            soak.memory.append((seconds, resident_mib(shop.processes)))
            shop.deadline.pause(min(SAMPLE_SECONDS, soak.minutes * 6))
    finally:
        done.set()
        load.join(CALL_SECONDS_MAX)


def table(soak: Soak) -> str:
    """Return Markdown: the memory of each process at start, middle and end, then streams and
    records.
    """
    third = max(1, len(soak.memory) // 10)
    parts = (soak.memory[:third], soak.memory[len(soak.memory) // 2 :][:third], soak.memory[-third:])
    lines = [
        f"{soak.broker} and {soak.store}, {soak.per_second:g} orders a second for {soak.minutes:g} minutes: "
        f"{dict(soak.statuses)}",
        "",
        "| process | MiB at the start | in the middle | at the end | growth over the second half |",
        "|---|---|---|---|---|",
    ]
    for name, growth in soak.growth.items():
        cells = [f"{statistics.median(mib[name] for _, mib in part):.0f}" for part in parts]
        lines.append(f"| {name} | {' | '.join(cells)} | {100 * growth:+.1f} % |")
    lines += ["", "| | at the start | in the middle | at the end |", "|---|---|---|---|"]
    lines.append(f"| orders answered | {' | '.join(str(point.orders) for point in soak.points)} |")
    per_order = [f"{soak.bytes_per_order(number):.0f}" for number in (1, 2)]
    lines.append(f"| bytes of state for each order since the start | | {' | '.join(per_order)} |")
    for name in sorted({name for point in soak.points for name in point.lengths}):
        numbers = [point.lengths.get(name, 0) for point in soak.points]
        if any(numbers):
            lines.append(f"| events kept: {name} | {' | '.join(map(str, numbers))} |")
    return "\n".join(lines)


def run(soak: Soak) -> int:
    """Run `sidecart soak`; return 0 if memory is flat and every order was answered 201."""
    deadline = stopped_by_signals()
    with (
        tempfile.TemporaryDirectory(prefix="sidecart-soak-") as folder,
        System(Options(soak.broker, soak.store, folder=Path(folder), env=UNPACED), say, deadline) as shop,
    ):
        soak_shop(shop, soak)
    REPORTS.mkdir(parents=True, exist_ok=True)
    path = REPORTS / f"{soak.broker}-{soak.store}.json"
    path.write_text(json.dumps({"memory": soak.memory, "statuses": dict(soak.statuses)}), encoding="utf-8")
    say(f"\n{table(soak)}\n\nevery sample is in {path.relative_to(root())}")
    ours = {name for app_id in app_ids() for name in (app_id, sidecar_of(app_id))}
    grown = {name: growth for name, growth in soak.growth.items() if name in ours and growth > GROWTH_MAX}
    if grown:
        say(f"grew by more than {100 * GROWTH_MAX:.0f} % over the second half: {', '.join(grown)}")
    return 1 if grown or set(soak.statuses) != {201} else 0
