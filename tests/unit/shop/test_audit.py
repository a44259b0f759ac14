"""Tests of the shop's bookkeeping: each planted defect is found, and nothing else."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from shop.audit import PAID_TWICE, balances, check_erasures, check_events, is_final, message_id
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.ledger import Intent
from sidecart.testkit.faults.reader import Answer

USER, ORDER, DEPOSIT = (str(uuid.UUID(int=number)) for number in (1, 2, 3))


def intent(route: str, resource: str, body: dict[str, Any]) -> Intent:
    """Return an accepted request."""
    return Intent(resource, route, body, time.time(), status=201, location=f"/{route.split('/')[1]}/{resource}")


def events(*passed: tuple[str, str, str]) -> list[tuple[str, bytes]]:
    """Return recorded events of these topics, ids and orders."""
    return [(topic, json.dumps({"id": name, "subject": order}).encode()) for topic, name, order in passed]


def test_the_payment_of_a_pending_order_is_not_a_double_payment() -> None:
    """Only money missing beyond the pending orders counts as taken twice."""
    found = [
        (intent("/account/deposit", DEPOSIT, {"user_id": USER, "amount_cents": 900}), Answer(200, {"reason": None})),
        (
            intent("/order/create", ORDER, {"user_id": USER}),
            Answer(200, {"status": "payment_pending", "amount_cents": 350}),
        ),
        (intent("/order/create", DEPOSIT, {"user_id": USER}), Answer(200, {"status": "paid", "amount_cents": 200})),
    ]

    expected, pending = balances(found)

    assert (700, 350) == (expected[USER], pending[USER])


@pytest.mark.parametrize(
    ("passed", "findings", "twice"),
    [
        (events(("OrderPaymentCreated", "1", "o"), ("OrderPaid", "2", "o")), [], 0),
        (events(("OrderPaymentCreated", "1", "o"), ("OrderPaymentCreated", "1", "o")), [], 0),  # repeated
        (
            events(("OrderPaymentCreated", "1", "o"), ("OrderPaymentFailed", "3", "o")),
            ["1 orders have several payments"],
            1,
        ),
        (events(("OrderPaid", "1", "o"), ("OrderNotPaid", "2", "o")), ["1 orders have several final events"], 0),
        ([], ["no event was recorded, although orders were paid"], 0),
    ],
)
def test_an_order_has_one_payment_and_one_end(passed: list[tuple[str, bytes]], findings: list[str], twice: int) -> None:
    """Two events with different ids are two payments; a repeated event is one."""
    audit = Audit(counts={"paid": 1, PAID_TWICE: 0})

    check_events(audit, passed)

    assert findings == [each.partition(":")[0] for each in audit.findings]
    assert twice == audit.counts[PAID_TWICE]


@pytest.mark.parametrize(
    ("route", "answer", "final"),
    [
        ("/order/create", Answer(200, {"status": "paid"}), True),
        ("/order/create", Answer(200, {"status": "not_paid"}), True),
        ("/order/create", Answer(200, {"status": "payment_pending"}), False),
        ("/order/create", Answer(404, {}), False),
        ("/user/register", Answer(200, {}), True),
    ],
)
def test_an_order_is_final_when_it_is_paid_or_not(route: str, answer: Answer, final: bool) -> None:
    """Other resources are final as soon as they can be read."""
    assert final == is_final(intent(route, ORDER, {}), answer)


def test_each_order_has_its_own_message_id() -> None:
    """The Message-ID is derived from the order's id."""
    assert message_id(ORDER) == message_id(ORDER) != message_id(USER)


def test_an_address_of_an_erased_user_is_found_in_keys_and_values() -> None:
    """A record of another user is no finding."""
    audit = Audit()
    stored = [("a||email:x@example.com", b"{}"), ("b", b'{"to":"x@example.com"}'), ("c", b'{"to":"y@example.com"}')]

    check_erasures(audit, ["x@example.com"], stored)

    assert ["2 records have the addresses of erased users"] == [each.partition(":")[0] for each in audit.findings]
    assert "a||email" in audit.findings[0]
    assert 1 == audit.counts["erased"]
