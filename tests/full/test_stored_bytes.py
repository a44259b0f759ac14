"""A test of the bytes that a request leaves in the store and at the broker.

A request leaves at most FIXED_BYTES, and FACTOR bytes for each byte of its body. Over HTTP/1.1 the
sidecars escape `<`, `>` and `&`, so such a character counts six times.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.commands import ITEMS_MAX
from sidecart.chassis.settings import GRPC, HTTP, SIDECAR_API
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.testkit.contents import stored_bytes
from sidecart.testkit.tap import Tap
from tests.e2e.shopper import TEA, Shopper, new_address

FACTOR = 8
FIXED_BYTES = 16 * 1024
REQUESTS = 10
SKU_CHARACTERS = 64
SHOPS = [(*pair, api) for pair in (("redis", "redis"), ("rabbitmq", "postgres")) for api in (GRPC, HTTP)]
"""Brokers, stores, and the APIs by which the apps call their sidecars."""


@pytest.fixture(scope="module", params=SHOPS, ids="-".join)
def shopper(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopper]:
    """Return a client of a shop on each pair of servers, over each API."""
    broker, store, api = request.param
    folder = tmp_path_factory.mktemp("stored")
    options = Options(broker, store, folder=folder, env={"PRICE_LIST": price_list(folder), SIDECAR_API: api})
    with System(options, print) as shop, Tap(shop) as tap, Shopper(shop, tap) as client:
        client.deposit(client.register()["user_id"], 1)  # the first events create streams and pages
        yield client


def price_list(folder: Path) -> str:
    """Write a price list with the longest SKUs, and the product of the other orders."""
    prices = {character * SKU_CHARACTERS: 1 for character in "st\u20ac<"} | {TEA["sku"]: TEA["unit_price_cents"]}
    products = [{"sku": sku, "name": "a product", "unit_price_cents": cents} for sku, cents in prices.items()]
    file = folder / "prices.json"
    file.write_text(json.dumps({"version": "1", "products": products}), encoding="utf-8")
    return str(file)


def order(character: str) -> Callable[[str], dict[str, Any]]:
    """Return a function that returns the body of the largest order of a user."""
    item = {"sku": character * SKU_CHARACTERS, "quantity": 1, "unit_price_cents": 1}
    return lambda user_id: {"user_id": user_id, "items": [item] * ITEMS_MAX}


def deposit(user_id: str) -> dict[str, Any]:
    """Return the body of a deposit."""
    return {"user_id": user_id, "amount_cents": 1_000_000}


def registration(_user_id: str) -> dict[str, Any]:
    """Return the body of the largest registration."""
    address = f"{uuid.uuid4().hex}@{'.'.join(['x' * 60] * 3)}.com"
    return {"email": address, "name": "n" * 200}


CASES = {
    "a large order": ("/order/create", order("s"), 201),
    "a large order in another script": ("/order/create", order("\u20ac"), 201),
    "a large order of characters that are escaped": ("/order/create", order("<"), 201),
    "a deposit": ("/account/deposit", deposit, 201),
    "a registration": ("/user/register", registration, 201),
    "a rejected order": ("/order/create", order("s"), 422),
}


@pytest.mark.parametrize("name", CASES)
def test_stored_bytes_are_bounded(shopper: Shopper, name: str) -> None:
    """The bytes stay below the documented factor and constant of docs/reference/limits.md."""
    path, body_of, status = CASES[name]
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 10**9)
    headers = {"idempotency-key": uuid.uuid4().hex} if status == 422 else {}
    if status == 422:  # the key is used, so each later request with it is rejected
        shopper.http.post(path, json=order("t")(user_id), headers=headers).raise_for_status()
    settle(shopper)
    bodies = [json.dumps(body_of(user_id), ensure_ascii=False).encode() for _ in range(REQUESTS)]
    before = stored_bytes(shopper.shop)
    answers = [
        shopper.http.post(path, content=body, headers={"content-type": "application/json", **headers})
        for body in bodies
    ]
    assert {status} == {answer.status_code for answer in answers}, answers[0].text
    settle(shopper)
    stored = (stored_bytes(shopper.shop) - before) / REQUESTS

    more = 5 if shopper.shop.options.env[SIDECAR_API] == HTTP else 0
    sent = sum(len(body) + more * sum(body.count(each) for each in b"<>&") for body in bodies) / REQUESTS
    print(f"{name}: {len(bodies[0])} bytes sent, {stored:.0f} stored, {stored / sent:.1f} for each byte")
    assert stored <= FIXED_BYTES + FACTOR * sent


def settle(shopper: Shopper) -> None:
    """Wait until an order that was placed now is mailed, and so all events before it are
    handled.
    """
    user = shopper.register(email=new_address())
    shopper.deposit(user["user_id"], 900)
    order_id = shopper.order(user["user_id"]).json()["order_id"]
    assert "OrderPaid" == shopper.final(order_id)
    shopper.wait_for_mails(user["email"], 1)


def test_the_limits_are_documented(request: pytest.FixtureRequest) -> None:
    """docs/reference/limits.md has the factor and the constant of this test."""
    page = (request.config.rootpath / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")

    assert f"{FACTOR} bytes for each byte of its body, and {FIXED_BYTES // 1024} KiB" in page


def test_a_larger_order_is_refused(shopper: Shopper) -> None:
    """One more item than ITEMS_MAX is a 422."""
    body = order("s")(shopper.register()["user_id"])
    body["items"] = body["items"] + body["items"][:1]
    answer: httpx.Response = shopper.http.post("/order/create", json=body)

    assert 422 == answer.status_code
