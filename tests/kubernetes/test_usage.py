"""The memory of each container after some orders, beside its request and its limit."""

from __future__ import annotations

import asyncio

import httpx

from sidecart.launcher.topics import app_ids
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper
from tests.kubernetes import usage
from tests.kubernetes.shop import KubernetesShop

ORDERS, AT_ONCE = 500, 16
SHARE_MAX = 0.8
"""Of the limit: the rest is for a peak."""


def test_each_container_stays_below_its_limit(shop: KubernetesShop, shopper: Shopper) -> None:
    """Each app and each sidecar has a request and a limit above its use."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, ORDERS * TEA_CENTS)
    before = {(one.pod, one.container): one.cpu_seconds for one in usage.measure(shop)}

    async def order(http: httpx.AsyncClient, slots: asyncio.Semaphore) -> int:
        async with slots:
            return (await http.post("/order/create", json={"user_id": user_id, "items": [TEA]})).status_code

    async def order_all() -> list[int]:
        slots = asyncio.Semaphore(AT_ONCE)
        async with shopper.concurrent() as http:
            return await asyncio.gather(*(order(http, slots) for _ in range(ORDERS)))

    statuses = asyncio.run(order_all())
    shopper.until(lambda: 0 == shopper.balance(user_id), "all payments")
    # the kubelet measures every some seconds, so the last orders may be missing
    shopper.until(lambda: _total(usage.measure(shop)) > sum(before.values()), "a new measurement")
    found = usage.measure(shop)
    spent = sum(one.cpu_seconds - before.get((one.pod, one.container), 0.0) for one in found)
    print(f"\n{usage.table(found)}\n\nall containers: {1000 * spent / ORDERS:.1f} ms of CPU for a completed order")

    assert {201, 202} >= set(statuses)
    assert {(app_id, name) for app_id in app_ids() for name in ("app", "daprd")} <= {
        (one.pod.partition("-")[0], one.container) for one in found
    }
    assert [] == [one for one in found if one.memory_bytes > SHARE_MAX * one.memory_limit_bytes]


def _total(found: list[usage.Usage]) -> float:
    return sum(one.cpu_seconds for one in found)
