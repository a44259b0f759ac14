"""Attacks on prices: the shop sets them, and a rejection stays one."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.contracts.validate import http_problems
from tests.e2e.attack import Victim
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper

PRICES: dict[str, tuple[list[dict[str, Any]], int, str]] = {
    "a lower price": ([TEA | {"unit_price_cents": 1}], 409, "price_changed"),
    "a higher price": ([TEA | {"unit_price_cents": 451}], 409, "price_changed"),
    "no price": ([TEA | {"unit_price_cents": 0}], 409, "price_changed"),
    "the price of another product": ([TEA | {"unit_price_cents": 100}], 409, "price_changed"),
    "the last of three items": ([TEA, TEA, TEA | {"unit_price_cents": 449}], 409, "price_changed"),
    "an unknown product": ([TEA | {"sku": "gold"}], 422, "unknown_product"),
    "a product in capitals": ([TEA | {"sku": "TEA"}], 422, "unknown_product"),
    "a product with a space": ([TEA | {"sku": "tea "}], 422, "unknown_product"),
    "a product with another letter": ([TEA | {"sku": "tеa"}], 422, "unknown_product"),  # noqa: RUF001 - Cyrillic
    "an unknown product for nothing": ([TEA, TEA | {"sku": "gold", "unit_price_cents": 0}], 422, "unknown_product"),
    "both": ([TEA | {"unit_price_cents": 1}, TEA | {"sku": "gold"}], 422, "unknown_product"),
}


@pytest.mark.attack("other users", "order at another price, or an unknown product", "price list")
@pytest.mark.parametrize("attack", PRICES)
def test_an_order_with_another_price_is_rejected_by_an_event(shopper: Shopper, victim: Victim, attack: str) -> None:
    """No order is placed and no payment requested; a repetition is rejected too, and the key is not
    free for another body.
    """
    items, status, reason = PRICES[attack]
    key = {"idempotency-key": uuid.uuid4().hex}
    body = {"user_id": victim.user_id, "items": items}
    balance = shopper.balance(victim.user_id)
    answers = [shopper.http.post("/order/create", json=body, headers=key) for _ in range(3)]
    reused = shopper.http.post("/order/create", json=body | {"items": [TEA]}, headers=key)
    marker = shopper.order(victim.user_id)
    assert "OrderPaid" == shopper.final(marker.json()["order_id"])

    assert {(status, f"urn:sidecart:problem:{reason}")} == {
        (answer.status_code, answer.json()["type"]) for answer in answers
    }
    assert [] == http_problems("problem", answers[0].json())
    assert (422, "urn:sidecart:problem:key_reused") == (reused.status_code, reused.json()["type"])
    # topics arrive at the tap independently of each other
    rejected = [rejection(shopper, victim.user_id, each) for each in (reason, "key_reused")]
    [order_id] = {event["subject"] for event in rejected}
    shopper.event("OrderCreateRequested", order_id)
    assert {"OrderCreateRequested", "OrderCreateRejected"} == set(shopper.passed(order_id))
    assert balance - TEA_CENTS == shopper.balance(victim.user_id)
    assert 404 == shopper.http.get(f"/order/{order_id}").status_code


def rejection(shopper: Shopper, user_id: str, reason: str) -> dict[str, Any]:
    """Wait for the rejection of a user's order for this reason."""
    seen = shopper.tap.wait(
        lambda one: (
            one.topic == "OrderCreateRejected"
            and user_id in json.dumps(one.event)
            and one.event["data"]["reason"] == reason
        ),
        SECONDS,
    )
    assert seen is not None, f"no rejection for {reason}"
    return seen.event
