"""Tests of two gateways: both give the same answers, and a pending command outlives the gateway
that gave it.
"""

import asyncio
import uuid
from collections.abc import Iterator

import httpx
import pytest

from sidecart.launcher.lifecycle.system import System
from tests.e2e.replicas import add_gateway, stop_pair
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper
from tests.e2e.test_pending_commands import until_up

pytestmark = pytest.mark.sidecars

OTHER = "gateway-1"
AT_ONCE = 40


@pytest.fixture(scope="module")
def other_url(shop: System) -> Iterator[str]:
    """Start a second gateway; return its address."""
    url = add_gateway(shop, OTHER)
    try:
        yield url
    finally:
        stop_pair(shop, OTHER)


@pytest.fixture
def other(shopper: Shopper, other_url: str) -> Iterator[httpx.Client]:
    """Return a client of the second gateway, for the same users."""
    with httpx.Client(base_url=other_url, timeout=SECONDS, trust_env=False, auth=shopper.acting) as http:
        yield http


def test_each_gateway_answers_its_held_requests(shopper: Shopper, other: httpx.Client) -> None:
    """Every reply goes to both gateways; each request gets 201 from the gateway that holds it."""
    user_id = shopper.register()["user_id"]

    async def send_all() -> list[httpx.Response]:
        async with shopper.concurrent() as http:
            urls = [shopper.shop.url, str(other.base_url)] * AT_ONCE
            body, headers = {"user_id": user_id, "items": [TEA]}, {"prefer": "wait=30"}
            return await asyncio.gather(
                *(http.post(f"{url.rstrip('/')}/order/create", json=body, headers=headers) for url in urls)
            )

    answers = asyncio.run(send_all())

    assert {201} == {answer.status_code for answer in answers}
    assert 2 * AT_ONCE == len({answer.json()["order_id"] for answer in answers})


def test_one_key_at_both_gateways_is_one_order(shopper: Shopper, other: httpx.Client) -> None:
    """Both gateways return the same resource and the same response, and money is taken once."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 5_000)
    body, headers = {"user_id": user_id, "items": [TEA]}, {"idempotency-key": uuid.uuid4().hex}

    answers = [http.post("/order/create", json=body, headers=headers) for http in (shopper.http, other) * 3]

    assert {(201, answers[0].text)} == {(answer.status_code, answer.text) for answer in answers}
    assert "OrderPaid" == shopper.final(answers[0].json()["order_id"])
    # it completes after all repetitions
    assert "OrderPaid" == shopper.final(shopper.order(user_id).json()["order_id"])
    assert 5_000 - 2 * TEA_CENTS == shopper.balance(user_id)


def test_another_gateway_completes_the_command_of_a_killed_one(shopper: Shopper, other: httpx.Client) -> None:
    """The other gateway returns 202 while the service is stopped, then the order; the first stays
    dead meanwhile.
    """
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    shop.stop_app("order")
    accepted = shopper.order(user_id, prefer="respond-async")
    location = accepted.headers["location"]
    shop.kill("gateway")
    try:
        meanwhile = other.get(location)
        repeated = other.post(
            "/order/create",
            json={"user_id": user_id, "items": [TEA]},
            headers={"prefer": "respond-async", "idempotency-key": uuid.uuid4().hex},
        )
        shop.start_app("order")
        shopper.until(lambda: other.get(location).status_code == 200, "the order at the other gateway")
    finally:
        shop.start_app("gateway")
    until_up(shopper)
    shop.wait_ready("gateway")
    shop.wait_ready("order")

    assert (202, 202) == (accepted.status_code, meanwhile.status_code)
    assert accepted.json()["order_id"] == meanwhile.json()["order_id"]
    assert 202 == repeated.status_code
    assert "OrderNotPaid" == shopper.final(accepted.json()["order_id"])
    assert shopper.get(location) == other.get(location).json()


def test_a_rejection_is_readable_at_another_gateway(shopper: Shopper, other: httpx.Client) -> None:
    """The other gateway returns the problem that the held caller would have got."""
    ann = shopper.register()
    shopper.shop.stop_app("user")
    accepted = shopper.http.post(
        "/user/register",
        json={"email": ann["email"], "name": "Not Ann"},
        headers={"prefer": "wait=0", **shopper.as_another(ann["email"])},
    )
    location = accepted.headers["location"]
    meanwhile = other.get(location)
    shopper.shop.start_app("user")
    shopper.shop.wait_ready("user")
    shopper.until(lambda: other.get(location).status_code != 202, "the rejection")

    refused = other.get(location)
    assert (202, 202, 409) == (accepted.status_code, meanwhile.status_code, refused.status_code)
    assert "urn:sidecart:problem:email_taken" == refused.json()["type"]
