"""`sidecart memory`: the resident memory of every process after many orders."""

import asyncio
import tempfile
import time
from pathlib import Path

import aiohttp

from bench.unpaced import UNPACED
from bench.usage import resident_mib
from shop.acting import acting
from sidecart.cli.run import say
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.topics import app_ids

MIB_MAX = 96
USERS = 100
HELD = 64
NOTIFICATIONS_LISTED = 100  # per user
FINISH_SECONDS_MAX = 600
ITEM = {"sku": "penny-sweet", "quantity": 1, "unit_price_cents": 1}


def _client(shop: System) -> aiohttp.ClientSession:
    """Return a client that acts for the users, and reads as an operator."""
    return aiohttp.ClientSession(shop.url, middlewares=(acting(shop.issuer_folder).middleware,))


async def place(shop: System, orders: int) -> tuple[list[str], int]:
    """Place this many orders, 64 held at a time; return the users and the number of responses other
    than 201.
    """
    refused = 0
    async with _client(shop) as http:

        async def register(number: int) -> str:
            body = {"email": f"user{number}.{time.time_ns()}@example.com", "name": f"User {number}"}
            async with http.post("/user/register", json=body) as answer:
                user_id = str((await answer.json())["user_id"])
            async with http.post("/account/deposit", json={"user_id": user_id, "amount_cents": orders}) as answer:
                answer.raise_for_status()
            return user_id

        users = [await register(number) for number in range(USERS)]
        numbers = iter(range(orders))

        async def order() -> None:
            nonlocal refused
            for number in numbers:
                body = {"user_id": users[number % USERS], "items": [ITEM]}
                async with http.post("/order/create", json=body, headers={"prefer": "wait=30"}) as answer:
                    refused += answer.status != 201

        await asyncio.gather(*(order() for _ in range(HELD)))
    return users, refused


async def finished(shop: System, users: list[str], orders: int) -> bool:
    """Return whether every order is paid (each takes one cent) and its mail is sent.

    Only the newest hundred mails of each user are listed, so only these are checked.
    """
    unspent_cents = unsent = 0
    async with _client(shop) as http:
        for user_id in users:
            async with http.get(f"/account/{user_id}") as answer:
                unspent_cents += int((await answer.json())["balance_cents"])
            async with http.get(f"/notification/{user_id}") as answer:
                sent = [each for each in (await answer.json())["notifications"] if each["sent_at"]]
                unsent += min(orders // USERS, NOTIFICATIONS_LISTED) - len(sent)
    return unspent_cents == len(users) * orders - orders and unsent == 0


def run(broker: str, orders: int) -> int:
    """Start a shop, place the orders, wait until all are paid, print the table.

    Returns 1 if a Python process of the shop exceeds its limit, or if a response was not 201.
    """
    folder = tempfile.TemporaryDirectory(prefix="sidecart-memory-")
    with folder, System(Options(broker, folder=Path(folder.name), env=UNPACED), say) as shop:
        before = resident_mib(shop.processes)
        started = time.monotonic()
        users, refused = asyncio.run(place(shop, orders))
        placed_seconds = time.monotonic() - started
        shop.deadline.until(
            lambda: asyncio.run(finished(shop, users, orders)),
            FINISH_SECONDS_MAX,
            lambda: f"not all orders were paid and mailed within {FINISH_SECONDS_MAX} s",
            step_seconds=1.0,
        )
        after = resident_mib(shop.processes)
    say(f"\n{orders} orders on {broker}, {placed_seconds:.0f} s, {refused} not answered 201")
    say(f"{'process':22} {'MiB at start':>12} {'MiB after':>10}")
    for name, mib in after.items():
        say(f"{name:22} {before[name]:12.1f} {mib:10.1f}")
    worst = max(after[name] for name in app_ids())
    say(f"the largest Python process holds {worst:.1f} MiB of {MIB_MAX} allowed")
    return 0 if worst <= MIB_MAX and refused == 0 else 1
