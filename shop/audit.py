"""The shop's bookkeeping for the auditor: orders, balances, payments, emails and erasures.

The facts that hold for any project cover a service that the bookkeeping does not name. Its events
are processed, and none of them becomes a dead letter.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import httpx

from shop.aftermath import missing
from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.contents import records
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.bookkeeping import Missing, RepeatRules, SideEffect
from sidecart.testkit.faults.ledger import Intent
from sidecart.testkit.faults.reader import Answer, Reader
from sidecart.testkit.faults.records import Records

ORDER, REGISTRATION, DEPOSIT = "/order/create", "/user/register", "/account/deposit"
ERASURE = "DELETE /user"
OUTCOMES = ("OrderPaymentCreated", "OrderPaymentFailed")
ENDS = ("OrderPaid", "OrderNotPaid")
FINAL = ("paid", "not_paid")
PAID_TWICE = "paid twice"
SECOND_MAILS = RepeatRules(
    name="mail",
    explained_by=("notification", "mail", "valkey", "rabbitmq", "postgres"),
    # a process that dies with a mail in progress blocks it for up to 30 s
    # (services/notification/mail/retry_schedule.py)
    explained_seconds=45.0,
    per_fault_max=14,  # the maximum number of mail events in progress at once
)
MAILS_SECONDS_MAX = 60


class ShopBookkeeping:
    """The bookkeeping of one running shop."""

    recorded_topics = (*OUTCOMES, *ENDS)
    main_route = ORDER
    repeat_rules = SECOND_MAILS

    def __init__(self, shop: System) -> None:
        self._shop = shop
        self._records = Records(shop)
        self._erased: set[str] = set()

    def is_final(self, intent: Intent, answer: Answer) -> bool:
        """Return whether the answer shows the final result.

        An order is paid or not paid, and an erased user cannot be read.
        """
        if intent.route.startswith(ERASURE):
            self._erased.add(intent.resource)
            return answer.status == 404
        return is_final(intent, answer) or (intent.route == REGISTRATION and intent.resource in self._erased)

    def side_effect_of(self, intent: Intent) -> str | None:
        """Return the Message-ID of an order's mail."""
        return message_id(intent.resource) if intent.route == ORDER else None

    def side_effects(self) -> Sequence[SideEffect]:
        """Return the mails that the mail server accepted."""
        url = f"{self._shop.mail_url}/mails"
        answer = httpx.get(url, params={"short": "1"}, timeout=MAILS_SECONDS_MAX, trust_env=False)
        return [SideEffect(mail["message_id"], mail["taken_at"]) for mail in answer.raise_for_status().json()]

    def missing(self, accepted: Iterable[Intent]) -> Iterator[Missing]:
        """Yield the accounts, contacts, order data and erasures that do not exist."""
        return missing(accepted, self._records, self._erased)

    def check(
        self,
        audit: Audit,
        found: Sequence[tuple[Intent, Answer]],
        events: Sequence[tuple[str, bytes]],
        reader: Reader,
    ) -> None:
        """Count the orders, and check the balances, the events of each order, and the erasures."""
        orders = [answer.body.get("status") for each, answer in found if each.route == ORDER]
        audit.counts |= {"orders": len(orders), "paid": orders.count("paid"), "not paid": orders.count("not_paid")}
        audit.counts[PAID_TWICE] = 0
        _check_balances(audit, found, reader)
        check_events(audit, events)
        addresses = [
            each.body["email"] for each, _ in found if each.route == REGISTRATION and each.resource in self._erased
        ]
        check_erasures(audit, addresses, records(self._shop))


def message_id(order_id: str) -> str:
    """Return the Message-ID of an order's mail (contracts/WIRE.md, section 10)."""
    return f"<{uuid.uuid5(uuid.UUID(order_id), 'letter')}@sidecart>"


def is_final(intent: Intent, answer: Answer) -> bool:
    """Return whether the answer shows the final result of the request."""
    if answer.status != 200:
        return False
    return intent.route != ORDER or answer.body["status"] in FINAL


def balances(found: Sequence[tuple[Intent, Answer]]) -> tuple[dict[str, int], dict[str, int]]:
    """Return by user the expected balance, and the amount of pending orders, which may be taken
    already.
    """
    expected: dict[str, int] = defaultdict(int)
    pending: dict[str, int] = defaultdict(int)
    for each, answer in found:
        if answer.status != 200:
            continue
        user_id = each.body.get("user_id", "")
        if each.route == DEPOSIT and answer.body.get("reason") is None:
            expected[user_id] += each.body["amount_cents"]
        elif each.route == ORDER and answer.body["status"] == "paid":
            expected[user_id] -= answer.body["amount_cents"]
        elif each.route == ORDER and not is_final(each, answer):
            pending[user_id] += answer.body["amount_cents"]
    return expected, pending


def _check_balances(audit: Audit, found: Sequence[tuple[Intent, Answer]], reader: Reader) -> None:
    """Check that deposits minus paid orders equal the balances, to the cent."""
    expected, pending = balances(found)
    users = [each.resource for each, answer in found if each.route == REGISTRATION and answer.status == 200]
    wrong = []
    for user_id, account in zip(users, reader.read(f"/account/{user_id}" for user_id in users), strict=True):
        balance = account.body.get("balance_cents")
        if account.status != 200 or balance != expected[user_id]:
            wrong.append(f"{user_id} has {balance}, should have {expected[user_id]}")
            # A payment for a pending order is not a double payment: the order counts as lost.
            audit.counts[PAID_TWICE] += balance is not None and balance < expected[user_id] - pending[user_id]
    if wrong:
        audit.find("balances are wrong", wrong)


def check_erasures(audit: Audit, addresses: Sequence[str], stored: Iterable[tuple[str, bytes]]) -> None:
    """Check that no record of any app has the address of an erased user."""
    audit.counts["erased"] = len(addresses)
    pattern = re.compile("|".join(map(re.escape, addresses))) if addresses else None
    if pattern is None:
        return
    left = [key for key, value in stored if pattern.search(key) or pattern.search(value.decode("utf-8", "replace"))]
    if left:
        audit.find("records have the addresses of erased users", left)


def check_events(audit: Audit, events: Sequence[tuple[str, bytes]]) -> None:
    """Check that the broker carried one payment and one final event per order.

    A repeated event has the same id, so it counts once.
    """
    if not events and audit.counts["paid"]:
        audit.find("no event was recorded, although orders were paid")
    outcomes: dict[str, set[str]] = defaultdict(set)
    ends: dict[str, set[str]] = defaultdict(set)
    for topic, body in events:
        event = json.loads(body)
        (outcomes if topic in OUTCOMES else ends)[event["subject"]].add(f"{topic} {event['id']}")
    for what, by_order in (("payments", outcomes), ("final events", ends)):
        several = [order_id for order_id, each in by_order.items() if len(each) > 1]
        if several:
            audit.find(f"orders have several {what}", several)
        if what == "payments":
            audit.counts[PAID_TWICE] += len(several)
