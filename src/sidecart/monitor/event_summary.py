"""Summarize an event in a few words; missing fields become question marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUMMARY_CHARACTERS_MAX = 200
CENTS_MAX = 10**15
ITEMS_SHOWN = 3


def summarize(topic: str, data: Mapping[str, Any]) -> str:
    """The summary of an event, at most SUMMARY_CHARACTERS_MAX characters."""
    match topic:
        case "UserCreateRequested" | "UserCreated":
            summary = f"{_text(data, 'name')}, {_text(data, 'email')}"
        case "BillingAccountCreated":
            summary = f"account {short(_text(data, 'account_id'))}"
        case "AccountDepositRequested":
            summary = f"deposit of {cents(data.get('amount_cents'))}"
        case "AccountDeposited":
            summary = f"{cents(data.get('amount_cents'))} deposited, balance {cents(data.get('balance_cents'))}"
        case "OrderCreateRequested" | "OrderCreated" | "OrderPaid":
            summary = items(data.get("items"))
        case "OrderPaymentRequested":
            summary = f"{cents(data.get('amount_cents'))} to charge"
        case "OrderPaymentCreated":
            summary = f"payment {short(_text(data, 'payment_id'))}"
        case "OrderNotPaid" | "OrderPaymentFailed" | "UserCreateRejected" | "OrderCreateRejected":
            summary = _text(data, "reason").replace("_", " ")
        case "AccountDepositRejected":
            summary = _text(data, "reason").replace("_", " ")
        case "EmailRequested":
            summary = f"to {_text(data, 'to')}: {_text(data, 'subject')}"
        case _:
            summary = ""
    return summary[:SUMMARY_CHARACTERS_MAX]


def cents(value: Any) -> str:
    """Format an amount of cents, such as 1,234.56."""
    return f"{value / 100:,.2f}" if isinstance(value, int) and abs(value) < CENTS_MAX else "?"


def items(value: Any) -> str:
    """List the first ordered items."""
    if not isinstance(value, list):
        return "?"
    summary = [f"{each.get('quantity')} x {each.get('sku')}" for each in value[:ITEMS_SHOWN] if isinstance(each, dict)]
    more = len(value) - ITEMS_SHOWN
    return ", ".join(summary) + (f" and {more} more" if more > 0 else "")


def short(identity: str) -> str:
    """The last characters of an id; a UUIDv7 begins with the time, which neighbors share."""
    return identity[-8:]


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    return value if isinstance(value, str) else "?"
