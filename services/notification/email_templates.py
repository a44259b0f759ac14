"""The templates of the two mails, in plain text and HTML: an order is paid, or it is not.

The functions are pure: the same outcome gives the same mail. A mail contains no text that a user
chose freely, because mail programs make links of addresses and domain names in any text
(docs/adr/0058-no-free-text-in-mails.md).
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from babel.numbers import format_currency

from services.notification.events import EmailRequested, Item
from sidecart.chassis.currency import Currency

LOCALE = "en"  # the language of the texts
LINES_MAX = 10  # items that a mail lists; it counts the others
AMOUNTS_MAX = 4_096  # formatted amounts that are remembered (1 MB); formatting one takes 25 us
SKU = re.compile(r"[A-Za-z0-9]{1,16}(?:[-_][A-Za-z0-9]{1,16}){0,3}")
"""A SKU that a mail shows: without dot, slash, colon, @ and blank no mail program makes a link of
it, and four words are too few for instructions. Any other SKU becomes its position in the order."""


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """The outcome of an order, with the data for its mail: at most LINES_MAX items."""

    order_id: str
    amount_cents: int
    items: tuple[Item, ...]
    more_items: int
    kind: Literal["paid", "not_paid"]
    reason: Literal["insufficient_funds", "too_late"] | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """The texts and the color that differ between the two mails."""

    headline: str
    body: str
    advice: str
    color: str


REASONS = {
    None: "",
    "insufficient_funds": "the balance of your account was too low",
    "too_late": "the time for its payment had passed",
}


def order_outcome(
    order_id: str,
    items: Sequence[Item],
    amount_cents: int,
    reason: Literal["insufficient_funds", "too_late"] | None = None,
) -> OrderOutcome:
    """Return the outcome of a finished order; without a `reason` the order is paid."""
    shown = tuple(items[:LINES_MAX])
    return OrderOutcome(
        order_id, amount_cents, shown, len(items) - len(shown), "not_paid" if reason else "paid", reason
    )


def subject(outcome: OrderOutcome) -> str:
    """Return the subject line, which contains no text from a user."""
    short = outcome.order_id[-8:]  # ids start with a timestamp, so their first digits look alike
    return f"Your order {short} {'is paid' if outcome.kind == 'paid' else 'could not be paid'}"


def email(user_id: str, to: str, outcome: OrderOutcome, currency: Currency) -> EmailRequested:
    """Return the request for the mail about one order."""
    wording = _wording(outcome, money(outcome.amount_cents, currency))
    about = subject(outcome)
    return EmailRequested(
        message_id=f"<{uuid.uuid5(uuid.UUID(outcome.order_id), 'letter')}@sidecart>",
        order_id=outcome.order_id,
        user_id=user_id,
        to=to,
        subject=about,
        text=_text(outcome, wording, currency),
        html=_html(outcome, about, wording, currency),
    )


def _wording(outcome: OrderOutcome, amount: str) -> Wording:
    if outcome.kind == "paid":
        return Wording(
            headline="Thank you, your order is paid",
            body=f"We have taken {amount} from your account and are getting your order ready.",
            advice="You need not do anything. Keep this mail as your receipt.",
            color="#1a7f4b",
        )
    return Wording(
        headline="Your order could not be paid",
        body=f"We could not take {amount} because {REASONS[outcome.reason]}. No money was taken.",
        advice="Pay money into your account and order again; we would be glad to have you back.",
        color="#a13a1e",
    )


@lru_cache(maxsize=AMOUNTS_MAX)
def money(minor_units: int, currency: Currency) -> str:
    """Format an amount with the currency's symbol: €1,234.50."""
    return format_currency(Decimal(minor_units).scaleb(-currency.decimals), currency.code, locale=LOCALE)


def _more(outcome: OrderOutcome) -> str:
    return f"and {outcome.more_items} more" if outcome.more_items else ""


def _shown_skus(outcome: OrderOutcome) -> list[str]:
    return [
        item.sku if SKU.fullmatch(item.sku) else f"article {position}"
        for position, item in enumerate(outcome.items, start=1)
    ]


def _text(outcome: OrderOutcome, wording: Wording, currency: Currency) -> str:
    lines = [
        f"  {item.quantity} x {shown} at {money(item.unit_price_cents, currency)}"
        for item, shown in zip(outcome.items, _shown_skus(outcome), strict=True)
    ]
    if outcome.more_items:
        lines.append(f"  {_more(outcome)}")
    return "\n".join(
        [
            "Hello,",
            "",
            wording.body,
            "",
            f"Order {outcome.order_id}",
            *lines,
            f"  Total {money(outcome.amount_cents, currency)}",
            "",
            wording.advice,
            "",
            "The shop",
            "",
        ]
    )


def _html(outcome: OrderOutcome, about: str, wording: Wording, currency: Currency) -> str:
    rows = "".join(
        f"<tr><td>{item.quantity} &times; {shown}</td>"
        f'<td style="text-align:right">{money(item.unit_price_cents, currency)}</td></tr>'
        for item, shown in zip(outcome.items, _shown_skus(outcome), strict=True)
    )
    if outcome.more_items:
        rows += f'<tr><td colspan="2">{_more(outcome)}</td></tr>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="format-detection" content="telephone=no, date=no, address=no, email=no, url=no">'
        f"<title>{about}</title></head>"
        '<body style="font-family:sans-serif;max-width:36em;margin:auto">'
        f'<h1 style="color:{wording.color};font-size:1.3em">{wording.headline}</h1>'
        f"<p>Hello,</p><p>{wording.body}</p>"
        f'<h2 style="font-size:1em">Order {outcome.order_id}</h2><table style="width:100%">{rows}'
        '<tr><th style="text-align:left">Total</th>'
        f'<th style="text-align:right">{money(outcome.amount_cents, currency)}</th></tr>'
        f"</table><p>{wording.advice}</p><p>The shop</p></body></html>"
    )
