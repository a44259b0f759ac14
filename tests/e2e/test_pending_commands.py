"""Tests of pending commands: a 202 is stored, so it outlives the gateway that gave it."""

from collections import Counter

import httpx
import pytest

from tests.e2e.shopper import SECONDS, TEA, Shopper

ORDERS = 100
AGAIN_SECONDS = 2.0
"""Between the reads of all orders: a caller may send 1,000 requests in 10 s."""
UNREADY = pytest.mark.not_on_kubernetes("a gateway that starts while a service has no pod is not ready")


@pytest.mark.parametrize("order_service", ["runs", pytest.param("is stopped", marks=UNREADY)])
def test_100_accepted_orders_survive_a_kill_of_the_gateway(shopper: Shopper, order_service: str) -> None:
    """Each GET returns 202 or the order, never 404; in the end all orders are decided."""
    shop, user_id = shopper.shop, shopper.register()["user_id"]
    if order_service == "is stopped":
        shop.stop_app("order")
    answers = [shopper.order(user_id, prefer="respond-async") for _ in range(ORDERS)]
    shop.kill("gateway")
    shop.start_app("gateway")
    locations = [answer.headers["location"] for answer in answers]
    seen: Counter[int] = Counter()
    until_up(shopper)

    def read(location: str) -> int:
        """Count and return the status; print any answer but the order or 202."""
        answer = shopper.http.get(location)
        seen[answer.status_code] += 1
        if answer.status_code not in (200, 202):
            print(location, answer.elapsed, answer.text)
        return answer.status_code

    for location in locations:
        read(location)
    if order_service == "is stopped":
        assert {202: ORDERS} == seen
        shop.start_app("order")

    rest = locations

    def all_made() -> bool:
        nonlocal rest
        rest = [location for location in rest if read(location) != 200]
        return not rest

    shop.deadline.until(all_made, SECONDS, lambda: f"{len(rest)} orders are not made: {seen}", AGAIN_SECONDS)

    assert {201, 202} >= {answer.status_code for answer in answers}
    assert {200, 202} >= set(seen)
    assert [TEA] == shopper.get(locations[0])["items"]
    assert {"OrderNotPaid"} == {shopper.final(answer.json()["order_id"]) for answer in answers}
    shop.wait_ready("gateway")
    shop.wait_ready("order")


@UNREADY
def test_a_rejection_outlives_the_gateway_that_accepted(shopper: Shopper) -> None:
    """A later read returns the problem that the held caller would have got."""
    shop, ann = shopper.shop, shopper.register()
    shop.stop_app("user")
    body = {"email": ann["email"], "name": "Not Ann"}
    headers = {"prefer": "respond-async", **shopper.as_another(ann["email"])}
    accepted = shopper.http.post("/user/register", json=body, headers=headers)
    shop.kill("gateway")
    shop.start_app("gateway")
    shop.start_app("user")
    until_up(shopper)
    location = accepted.headers["location"]
    shopper.until(lambda: shopper.http.get(location).status_code != 202, "the rejection")

    refused = shopper.http.get(location)
    assert (202, 409) == (accepted.status_code, refused.status_code)
    assert "urn:sidecart:problem:email_taken" == refused.json()["type"]
    shop.wait_ready("gateway")
    shop.wait_ready("user")


def until_up(shopper: Shopper) -> None:
    """Wait until the gateway answers, and knows the keys of the token issuer; until then it refuses
    every token with 503.
    """

    def answers() -> bool:
        try:
            return "token issuer" not in shopper.http.get("/readyz").text
        except httpx.TransportError:
            return False

    shopper.until(answers, "the gateway to answer")
