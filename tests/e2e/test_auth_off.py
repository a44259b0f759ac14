"""Tests of AUTH=off: the gateway trusts each body, as for a first look at the shop, and says so."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from sidecart.launcher.lifecycle.plan import ISSUER
from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper, new_address

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]


@pytest.fixture(scope="module")
def open_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop that needs no tokens."""
    made = options(tmp_path_factory.mktemp("open"))
    with System(replace(made, env={"AUTH": "off"}), print) as running:
        yield running


@pytest.fixture(scope="module")
def open_tap(open_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(open_shop) as running:
        yield running


@pytest.fixture
def shopper(open_shop: System, open_tap: Tap) -> Iterator[Shopper]:
    """Return a client that sends no token."""
    with (
        Shopper(open_shop, open_tap) as client,
        httpx.Client(base_url=open_shop.url, timeout=SECONDS, trust_env=False) as without,
    ):
        client.http.close()
        client.http = without
        yield client


def test_both_flows_work_without_tokens(shopper: Shopper) -> None:
    """Registration, deposit, order and all reads need no token, and the order is mailed."""
    user = shopper.register()
    user_id = user["user_id"]
    deposit = shopper.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": 5_000})
    order = shopper.order(user_id)
    order_id = order.json()["order_id"]

    assert (201, 201) == (deposit.status_code, order.status_code)
    assert "OrderPaid" == shopper.final(order_id)
    assert order_id in shopper.wait_for_mails(user["email"], 1)[0]["text"]
    assert 5_000 - TEA_CENTS == shopper.balance(user_id)
    paths = (f"/user/{user_id}", f"/order/{order_id}", f"/notification/{user_id}", deposit.headers["location"])
    assert {200} == {shopper.http.get(path).status_code for path in paths}


def test_the_body_names_the_caller(shopper: Shopper) -> None:
    """The fields that a token would decide are required, and each registration is a new user."""
    email = new_address()
    first = shopper.http.post("/user/register", json={"email": email, "name": "Ann"})
    taken = shopper.http.post("/user/register", json={"email": email, "name": "Ann"})
    missing = [
        shopper.http.post("/user/register", json={"name": "Ann"}),
        shopper.http.post("/order/create", json={"items": [TEA]}),
        shopper.http.post("/order/create", json={"user_id": "x", "items": [TEA]}),
    ]

    assert (201, 409) == (first.status_code, taken.status_code)
    assert "urn:sidecart:problem:email_taken" == taken.json()["type"]
    assert [422] * 3 == [answer.status_code for answer in missing]
    assert [["/email"], ["/user_id"], ["/user_id"]] == [
        [error["pointer"] for error in answer.json()["errors"]] for answer in missing
    ]


def test_a_key_belongs_to_the_user_in_the_body(shopper: Shopper) -> None:
    """A repetition is the same order, and another user's the same key is another order."""
    users = [shopper.register()["user_id"] for _ in range(2)]
    key = {"idempotency-key": uuid.uuid4().hex}
    ids = [shopper.order(user_id, **key).json()["order_id"] for user_id in (*users, *users)]

    assert ids[:2] == ids[2:]
    assert 2 == len(set(ids))


def test_an_authorization_header_has_no_effect(shopper: Shopper) -> None:
    """A client that sends a token all the same is served."""
    user_id = shopper.register()["user_id"]

    for value in ("Bearer garbage", f"Bearer {shopper.acting.token('eve@example.com', (), ())}", "x"):
        headers = {"authorization": value}
        assert 201 == shopper.order(user_id, **headers).status_code
        assert user_id == shopper.http.get(f"/user/{user_id}", headers=headers).json()["user_id"]


def test_every_start_and_readyz_say_so(shopper: Shopper) -> None:
    """The gateway logs a warning, /readyz names the setting, the document asks for no token, and no
    issuer runs.
    """
    shop = shopper.shop
    ready, document = shopper.http.get("/readyz").json(), shopper.http.get("/openapi.json").json()

    assert {"missing": [], "auth": "off"} == ready
    assert "AUTH=off" in (shop.logs / "gateway.log").read_text()
    assert "security" not in document["paths"]["/order/create"]["post"]
    assert ISSUER not in shop.processes


def test_prices_are_those_of_the_shop(shopper: Shopper) -> None:
    """AUTH=off opens no other door."""
    user_id = shopper.register()["user_id"]
    body = {"user_id": user_id, "items": [TEA | {"unit_price_cents": 1}]}

    assert 409 == shopper.http.post("/order/create", json=body).status_code
