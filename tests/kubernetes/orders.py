"""A number of orders of some users, completed, on any shop: the unit in which its cost is given."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx

from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

USERS = 20
"""One user may send so many requests a second only; these are more than two cores serve."""
AT_ONCE = 16


def complete(shopper: Shopper, number: int) -> Counter[int]:
    """Place `number` orders and wait until the mails are sent; return the statuses."""
    addresses = [new_address() for _ in range(USERS)]
    users = [shopper.register(email=address)["user_id"] for address in addresses]
    for user_id in users:
        shopper.deposit(user_id, number * TEA_CENTS // USERS)

    async def order(http: httpx.AsyncClient, slots: asyncio.Semaphore, user_id: str) -> int:
        async with slots:
            return (await http.post("/order/create", json={"user_id": user_id, "items": [TEA]})).status_code

    async def order_all() -> list[int]:
        slots = asyncio.Semaphore(AT_ONCE)
        async with shopper.concurrent() as http:
            return await asyncio.gather(*(order(http, slots, users[each % USERS]) for each in range(number)))

    statuses = asyncio.run(order_all())
    for address in addresses:
        shopper.wait_for_mails(address, number // USERS)
    return Counter(statuses)
