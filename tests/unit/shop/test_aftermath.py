"""Tests of the auditor's checks in services that the caller does not wait for: each planted defect
is found.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import pytest

from shop.aftermath import NO_ACCOUNT, NO_CONTACT, NO_ERASURE, NO_NOTE, missing
from sidecart.testkit.faults.ledger import Intent

USER, ORDER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
ITEMS = [{"sku": "tea", "quantity": 2, "unit_price_cents": 150}, {"sku": "cup", "quantity": 1, "unit_price_cents": 50}]


def intent(route: str, resource: str, body: dict[str, Any]) -> Intent:
    """Return an accepted request."""
    return Intent(resource, route, body, time.time(), status=201, location=f"/{route.split('/')[1]}/{resource}")


ACCEPTED = [
    intent("/user/register", USER, {"email": "a@example.com", "name": "Ada"}),
    intent("/order/create", ORDER, {"user_id": USER, "items": ITEMS}),
    intent("/account/deposit", str(uuid.UUID(int=3)), {"user_id": USER, "amount_cents": 1}),
]
WHOLE: dict[str, dict[str, Any]] = {
    "billing": {f"account:{USER}": {"state": {"user_id": USER, "announced": True}, "outbox": {}}},
    "notification": {
        f"mailbox:{USER}": {"state": {"user_id": USER, "contact": {"email": "a@example.com", "name": "Ada"}}},
        f"order:{ORDER}": {"order_id": ORDER, "user_id": USER, "items": ITEMS, "amount_cents": 350},
    },
}


class StoredRecords:
    """Records in memory."""

    def __init__(self, stored: dict[str, dict[str, Any]]) -> None:
        self.stored = stored

    def load(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the records that exist."""
        return {key: self.stored[service][key] for key in keys if key in self.stored[service]}

    def states(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """Return the state of each record."""
        return {key: record["state"] or {} for key, record in self.load(service, keys).items()}


def test_nothing_is_missing_after_complete_processing() -> None:
    """A registration has its account and contact, an order has its notification record."""
    assert [] == list(missing(ACCEPTED, StoredRecords(WHOLE)))


@pytest.mark.parametrize(
    ("service", "key", "planted", "found"),
    [
        ("billing", f"account:{USER}", None, NO_ACCOUNT),
        # created by a deposit that arrived before UserCreated
        ("billing", f"account:{USER}", {"state": {"announced": False}}, NO_ACCOUNT),
        ("notification", f"mailbox:{USER}", None, NO_CONTACT),
        # created by an order's outcome that arrived before UserCreated
        ("notification", f"mailbox:{USER}", {"state": {"contact": None}}, NO_CONTACT),
        ("notification", f"mailbox:{USER}", {"state": {"contact": {"email": "b@x.org", "name": "Ada"}}}, NO_CONTACT),
        ("notification", f"mailbox:{USER}", {"state": None}, NO_CONTACT),
        ("notification", f"order:{ORDER}", None, NO_NOTE),
        ("notification", f"order:{ORDER}", {"order_id": ORDER, "user_id": USER, "items": ITEMS[:1]}, NO_NOTE),
    ],
)
def test_a_missing_record_is_found(service: str, key: str, planted: dict[str, Any] | None, found: str) -> None:
    """missing() reports the planted defect, and no other."""
    stored = deepcopy(WHOLE)
    if planted is None:
        del stored[service][key]
    else:
        stored[service][key] = planted

    assert [found] == [each.what for each in missing(ACCEPTED, StoredRecords(stored))]


def test_an_erasure_is_missing_until_each_service_has_processed_it() -> None:
    """An erased user needs neither contact nor announcement."""
    stored = deepcopy(WHOLE)
    stored["billing"][f"account:{USER}"]["state"] = {"user_id": USER, "erased": True}

    assert [NO_ERASURE] == [each.what for each in missing(ACCEPTED, StoredRecords(stored), {USER})]

    stored["notification"][f"mailbox:{USER}"]["state"] = {"user_id": USER, "contact": None, "erased": True}

    assert [] == list(missing(ACCEPTED, StoredRecords(stored), {USER}))
