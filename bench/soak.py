"""A soak test: orders at a constant rate for twenty minutes, with memory, disk, streams and records
sampled.

`sidecart soak` returns 1 if a request was not answered 201, or if anything grew that must be flat
(bench/soak_report.py). Acknowledged events are kept for a minute instead of an hour, so the streams
reach their length early.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from pathlib import Path

import aiohttp

from bench.soak_report import growing, table
from bench.soak_samples import MIB, Records, Soak, Stored, disk_bytes, family_mib, write
from bench.unpaced import UNPACED
from shop.acting import acting
from sidecart.cli.run import say, stopped_by_signals
from sidecart.launcher.lifecycle.start import MAILS
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.streams import RETENTION
from sidecart.testkit.contents import lengths, state_bytes

USERS = 200
DEPOSIT_CENTS = 1_000_000
ITEM = {"sku": "voucher", "quantity": 1, "unit_price_cents": 100}
SAMPLE_SECONDS = 10.0
STORED_SECONDS = 30.0
CALL_SECONDS_MAX = 60.0
FIRST_SECONDS_MAX = 120
REPORTS = root() / ".sidecart" / "soak"


async def place_orders(shop: System, per_second: float, statuses: dict[int, int], done: threading.Event) -> None:
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
                    statuses[answer.status] += 1
            except (aiohttp.ClientError, TimeoutError):
                statuses[0] += 1

        async with asyncio.TaskGroup() as tasks:
            started, number = time.monotonic(), 0
            while not done.is_set():
                await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                tasks.create_task(order(users[number % USERS]))
                number += 1


class _Sampler:
    """Takes each kind of sample when it is due."""

    def __init__(self, shop: System, soak: Soak) -> None:
        self._shop, self._soak = shop, soak
        self._started = time.monotonic()
        self._due = [0.0, 0.5, 1.0]
        self._stored_at = 0.0

    @property
    def is_done(self) -> bool:
        """Whether the time is over and all samples are taken."""
        return not self._due

    def look(self) -> None:
        """Take the samples that are due."""
        shop, soak = self._shop, self._soak
        seconds = time.monotonic() - self._started
        soak.memory.append((seconds, family_mib(shop.processes)))
        is_due = seconds >= self._due[0] * soak.minutes * 60
        if is_due or seconds >= self._stored_at:
            self._stored_at = seconds + min(STORED_SECONDS, soak.minutes * 6)
            soak.stored.append(
                Stored(seconds, sum(soak.statuses.values()), lengths(shop), disk_bytes(shop.data, MAILS))
            )
        if is_due:
            self._due.pop(0)
            soak.records.append(Records(seconds, sum(soak.statuses.values()), state_bytes(shop)))
            records, stored = soak.records[-1], soak.stored[-1]
            say(
                f"  {seconds / 60:.0f} min: {records.orders} orders, {sum(stored.lengths.values())} events kept, "
                f"{records.state_bytes / 1024:.0f} KiB of state, {stored.data_bytes / MIB:.0f} MiB on disk"
            )


def soak_shop(shop: System, soak: Soak) -> None:
    """Load the shop and sample it for the configured number of minutes."""
    done = threading.Event()
    load = threading.Thread(
        target=lambda: asyncio.run(place_orders(shop, soak.per_second, soak.statuses, done)), daemon=True
    )
    load.start()
    try:
        shop.deadline.until(
            lambda: sum(soak.statuses.values()) > 0, FIRST_SECONDS_MAX, lambda: "the first order was never answered"
        )
        sampler = _Sampler(shop, soak)
        while not sampler.is_done:
            sampler.look()
            shop.deadline.pause(min(SAMPLE_SECONDS, soak.minutes * 6))
    finally:
        done.set()
        load.join(CALL_SECONDS_MAX)


def run(soak: Soak) -> int:
    """Run `sidecart soak`; return 0 if all is flat and every order was answered 201."""
    deadline = stopped_by_signals()
    settings = {RETENTION: str(soak.retention_seconds)}
    with tempfile.TemporaryDirectory(prefix="sidecart-soak-") as folder:
        options = Options(soak.broker, soak.store, folder=Path(folder), env=UNPACED, settings=settings)
        with System(options, say, deadline) as shop:
            soak_shop(shop, soak)
    path = REPORTS / f"{soak.broker}-{soak.store}.json"
    write(soak, path)
    say(f"\n{table(soak)}\n\nevery sample is in {path.relative_to(root())}")
    grown = growing(soak)
    if grown:
        say(f"grows: {'; '.join(grown)}")
    return 1 if grown or set(soak.statuses) != {201} else 0
