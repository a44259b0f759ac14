"""Tests of the first start on an empty broker, which loses nothing, and of a stop, which leaves
nothing.
"""

import asyncio
from pathlib import Path

import httpx
import psutil
import pytest

from shop.acting import acting
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.ports import is_free
from sidecart.launcher.private_files import OTHERS
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, Shopper, new_address

pytestmark = pytest.mark.sidecars

FIRST = 20


def test_a_first_start_loses_nothing_and_a_stop_leaves_nothing(tmp_path: Path) -> None:
    """The first requests, sent as soon as the shop is ready, end in mails; after the stop no
    process or port remains. Other users of the machine can read none of its files.
    """
    with System(options(tmp_path), print) as shop:
        first = asyncio.run(first_requests(shop))
        pids, ports = dict(shop.processes), dict(shop.ports)
        with Tap(shop) as tap, Shopper(shop, tap) as shopper:
            for email, order in first:
                assert 201 == order.status_code
                assert order.json()["order_id"] in shopper.wait_for_mails(email, 1)[0]["text"]
        pids |= shop.processes

    assert [] == [
        file for file in [tmp_path, *tmp_path.rglob("*")] if file.lstat().st_mode & OTHERS and not file.is_symlink()
    ]
    assert {} == {name: pid for name, pid in pids.items() if psutil.pid_exists(pid)}
    assert {} == {name: port for name, port in ports.items() if not is_free(port)}


async def first_requests(shop: System) -> list[tuple[str, httpx.Response]]:
    """Register and order as several users concurrently."""

    async def one(http: httpx.AsyncClient) -> tuple[str, httpx.Response]:
        email = new_address()
        user = await http.post("/user/register", json={"email": email, "name": "First"})
        assert user.status_code == 201, user.text
        order = await http.post("/order/create", json={"user_id": user.json()["user_id"], "items": [TEA]})
        return email, order

    tokens = acting(shop.issuer_folder)
    async with httpx.AsyncClient(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=tokens) as http:
        return await asyncio.gather(*(one(http) for _ in range(FIRST)))
