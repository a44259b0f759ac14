"""The results of accepted requests in services that their caller does not wait for: accounts,
contacts, order data, erasures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from sidecart.testkit.faults.bookkeeping import Missing
from sidecart.testkit.faults.ledger import Intent

NO_ACCOUNT = "registrations without an announced account"
NO_CONTACT = "registrations without their contact"
NO_NOTE = "orders without their notification record"
NO_ERASURE = "erasures that a service has not processed"


class States(Protocol):
    """Reads records of services."""

    def load(self, service: str, keys: Iterable[str]) -> dict[str, object]:
        """Return a service's records by key, without keys that do not exist."""

    def states(self, service: str, keys: Iterable[str]) -> dict[str, dict[str, object]]:
        """Return the state in each of these primary records."""


def missing(accepted: Iterable[Intent], records: States, erased: Collection[str] = ()) -> Iterator[Missing]:
    """Yield every missing result of the accepted requests; `erased` has the erased users."""
    intents = list(accepted)
    registered = {each.resource: each for each in intents if each.route == "/user/register"}
    ordered = {each.resource: each for each in intents if each.route == "/order/create"}
    accounts = records.states("billing", [f"account:{user_id}" for user_id in registered])
    mailboxes = records.states("notification", [f"mailbox:{user_id}" for user_id in registered])
    for user_id, each in registered.items():
        if user_id in erased:
            states = accounts.get(f"account:{user_id}", {}), mailboxes.get(f"mailbox:{user_id}", {})
            if not all(state.get("erased") is True for state in states):
                yield Missing(NO_ERASURE, each)
            continue
        if accounts.get(f"account:{user_id}", {}).get("announced") is not True:
            yield Missing(NO_ACCOUNT, each)
        if mailboxes.get(f"mailbox:{user_id}", {}).get("contact") != _contact(each):
            yield Missing(NO_CONTACT, each)
    notes = records.load("notification", [f"order:{order_id}" for order_id in ordered])
    for order_id, each in ordered.items():
        if notes.get(f"order:{order_id}") != _note(order_id, each):
            yield Missing(NO_NOTE, each)


def _contact(registered: Intent) -> dict[str, object]:
    return {"email": registered.body["email"], "name": registered.body["name"]}


def _note(order_id: str, ordered: Intent) -> dict[str, object]:
    amount = sum(item["quantity"] * item["unit_price_cents"] for item in ordered.body["items"])
    return {
        "order_id": order_id,
        "user_id": ordered.body["user_id"],
        "items": ordered.body["items"],
        "amount_cents": amount,
    }
