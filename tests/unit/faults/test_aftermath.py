"""What the auditor says of what callers do not wait for: each thing that is planted is found."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from copy import deepcopy
from typing import Any, cast

import pytest

from cli.dead_letters import DeadLetter
from cli.shop import Shop
from tests.faults.aftermath import NO_ACCOUNT, NO_CONTACT, NO_NOTE, missing
from tests.faults.auditor import Answer, Audit, Auditor, _balances
from tests.faults.ledger import Intent, Ledger
from tests.faults.unparseable import Planted

USER, ORDER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))
ITEMS = [{"sku": "tea", "quantity": 2, "unit_price_cents": 150}, {"sku": "cup", "quantity": 1, "unit_price_cents": 50}]


def intent(route: str, resource: str, body: dict[str, Any]) -> Intent:
    """An accepted request."""
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


class Kept:
    """Records in memory."""

    def __init__(self, stored: dict[str, dict[str, Any]]) -> None:
        self.stored = stored

    def load(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """Those that are there."""
        return {key: self.stored[service][key] for key in keys if key in self.stored[service]}

    def states(self, service: str, keys: Iterable[str]) -> dict[str, Any]:
        """The state in each."""
        return {key: record["state"] or {} for key, record in self.load(service, keys).items()}


def test_nothing_is_missing_of_what_was_carried_through() -> None:
    """A registration with its account and contact, an order with its note."""
    assert [] == list(missing(ACCEPTED, Kept(WHOLE)))


@pytest.mark.parametrize(
    ("service", "key", "planted", "found"),
    [
        ("billing", f"account:{USER}", None, NO_ACCOUNT),
        ("billing", f"account:{USER}", {"state": {"announced": False}}, NO_ACCOUNT),  # by a deposit before UserCreated
        ("notification", f"mailbox:{USER}", None, NO_CONTACT),
        ("notification", f"mailbox:{USER}", {"state": {"contact": None}}, NO_CONTACT),  # by news before UserCreated
        ("notification", f"mailbox:{USER}", {"state": {"contact": {"email": "b@x.org", "name": "Ada"}}}, NO_CONTACT),
        ("notification", f"mailbox:{USER}", {"state": None}, NO_CONTACT),
        ("notification", f"order:{ORDER}", None, NO_NOTE),
        ("notification", f"order:{ORDER}", {"order_id": ORDER, "user_id": USER, "items": ITEMS[:1]}, NO_NOTE),
    ],
)
def test_what_is_missing_is_found(service: str, key: str, planted: dict[str, Any] | None, found: str) -> None:
    """And nothing else."""
    stored = deepcopy(WHOLE)
    if planted is None:
        del stored[service][key]
    else:
        stored[service][key] = planted

    assert [found] == [each.what for each in missing(ACCEPTED, Kept(stored))]


PLANTED = Planted("UserCreated", "unparseable-0-abc")
BOTH = [
    DeadLetter(f"{service}-1", service, "UserCreated", "no JSON", "", "", "unparseable-0-abc is no JSON")
    for service in ("billing", "notification")
]
FOREIGN = DeadLetter("x", "order", "OrderCreateRequested", "malformed", "", "", "{}")


@pytest.mark.parametrize(
    ("planted", "letters", "findings"),
    [
        ([PLANTED], BOTH, []),
        ([], [], []),
        ([PLANTED], BOTH[:1], ["1 unparseable messages without a dead letter"]),
        ([PLANTED], [*BOTH, BOTH[0]], ["1 unparseable messages with several dead letters"]),
        ([PLANTED], [*BOTH, FOREIGN], ["1 dead letters"]),
        ([], BOTH, ["2 dead letters"]),
        ([Planted("UserCreated", "unparseable-0-abc", is_sure=False)], [], []),
    ],
)
def test_the_dead_letters_are_exactly_those_of_what_nothing_can_parse(
    planted: list[Planted], letters: list[DeadLetter], findings: list[str]
) -> None:
    """One of each service that reads the topic."""
    audit = Audit()
    Auditor(cast(Shop, None), cast(Ledger, None), [], lambda: None, planted)._judge_letters(audit, letters)

    assert findings == [each.partition(":")[0] for each in audit.findings]


def test_money_for_an_order_that_hangs_was_not_taken_twice() -> None:
    """Only what is missing beyond it was."""
    other = str(uuid.UUID(int=4))
    found = [
        (intent("/account/deposit", other, {"user_id": USER, "amount_cents": 900}), Answer(200, {"reason": None})),
        (ACCEPTED[1], Answer(200, {"status": "payment_pending", "amount_cents": 350})),
        (intent("/order/create", other, {"user_id": USER}), Answer(200, {"status": "paid", "amount_cents": 200})),
    ]

    expected, pending = _balances(found)

    assert (700, 350) == (expected[USER], pending[USER])
