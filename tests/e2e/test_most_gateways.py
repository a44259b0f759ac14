"""A test of the largest number of gateways: all of them start and serve."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sidecart.chassis.reply_topics import GATEWAYS_MAX, REQUESTERS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import replicas_of
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper

pytestmark = pytest.mark.own_shop


def test_twenty_gateways_start_and_serve(tmp_path: Path) -> None:
    """Each gateway gets the reply to an order of its own, with the other nineteen beside it."""
    with (
        System(replace(options(tmp_path), gateways=GATEWAYS_MAX), print) as shop,
        Tap(shop) as tap,
        Shopper(shop, tap) as shopper,
    ):
        user_id = shopper.register()["user_id"]
        shopper.deposit(user_id, GATEWAYS_MAX * TEA_CENTS)

        async def order_at(name: str) -> httpx.Response:
            async with shopper.concurrent(f"http://127.0.0.1:{shop.ports[name]}") as http:
                body = {"user_id": user_id, "items": [TEA]}
                return await http.post("/order/create", json=body, headers={"prefer": "wait=30"})

        async def order_at_all() -> list[httpx.Response]:
            return await asyncio.gather(*map(order_at, replicas_of(GATEWAY, GATEWAYS_MAX)))

        answers = asyncio.run(order_at_all())

        assert [201] * GATEWAYS_MAX == [answer.status_code for answer in answers]
        assert {"OrderPaid"} == {shopper.final(answer.json()["order_id"]) for answer in answers}
        ordered = (seen.event for seen in tap.seen if seen.topic == "OrderCreateRequested")
        assert set(REQUESTERS) == {event["replyto"] for event in ordered}
        assert 0 == shopper.balance(user_id)
