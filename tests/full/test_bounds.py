"""A test of the streams' maximum length: a stream keeps the configured thousand events."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx

from bench.components import copied
from shop.acting import acting
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.testkit.contents import lengths

KEPT = 1_000
ORDERS = 2_500
AT_ONCE = 32
NODE_EVENTS = 100  # a stream is trimmed by whole nodes of this many events
PRUNED = ("OrderCreateRequested", "OrderCreated", "OrderPaymentRequested", "OrderPaymentFailed", "OrderNotPaid")


async def place(shop: System) -> Counter[int]:
    """Place the orders, AT_ONCE at a time; return the number of responses by status."""
    statuses: Counter[int] = Counter()
    tokens = acting(shop.issuer_folder)
    async with httpx.AsyncClient(base_url=shop.url, timeout=60, trust_env=False, auth=tokens) as http:
        user = await http.post("/user/register", json={"email": "ann@example.com", "name": "Ann"})
        items = [{"sku": "tea", "quantity": 1, "unit_price_cents": 450}]
        body = {"user_id": user.json()["user_id"], "items": items}
        numbers = iter(range(ORDERS))

        async def caller() -> None:
            for _ in numbers:
                answer = await http.post("/order/create", json=body, headers={"prefer": "wait=30"})
                statuses[answer.status_code] += 1

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    return statuses


def test_a_stream_keeps_the_configured_number_of_events(tmp_path: Path) -> None:
    """Every order is answered, and every topic with more events than the maximum is trimmed."""
    resources = copied(tmp_path / "components", "redis", {"maxLenApprox": str(KEPT)})
    assert resources, "no component has the setting maxLenApprox"
    options = Options("redis", folder=tmp_path / "shop", resources=resources)
    with System(options, print) as shop:
        statuses = asyncio.run(place(shop))
        found = lengths(shop)

    assert {201: ORDERS} == statuses
    for topic in PRUNED:
        assert KEPT <= found[topic] <= KEPT + NODE_EVENTS
