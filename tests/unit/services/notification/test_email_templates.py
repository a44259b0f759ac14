"""The mails contain the order, and no text that a user chose freely."""

import re

import pytest

from services.notification.email_templates import LINES_MAX, email, money, order_outcome
from services.notification.events import Item
from sidecart.chassis.currency import Currency
from tests.unit.services.sample_events import ORDER, USER

EUR = Currency()
ITEMS = tuple(Item(f"thing-{number}", number + 1, 150) for number in range(12))

LINKED = re.compile(r"://|www\.|@|\b[a-z0-9-]+\.(com|example|evil)\b|mailto:|tel:|locked", re.IGNORECASE)
"""Text that a mail program makes a link of, or that a victim could obey."""
PHISHING = [
    "http://evil.example",
    "www.evil.example",
    "evil.com",
    "EVIL.COM/login",
    "ann@evil.com",
    "mailto:ann@evil.com",
    "tel:+123456789",
    "your account is locked",
    "your-account-is-locked-call-us",
    "tea\nYour account is locked",
    "tea\u202emoc.live",
    "<a href=//evil.com>tea</a>",
    "te\u0430.com",
    "tea\u200b.com",
    "red tea",
    "a" * 17,
    "x" * 64,
]


def test_a_paid_and_an_unpaid_order_have_different_mails() -> None:
    """Text and HTML name the order, its total and the outcome; both mails share a Message-ID."""
    good = email(USER, "ann@example.com", order_outcome(ORDER, ITEMS, 123_456), EUR)
    bad = email(USER, "ann@example.com", order_outcome(ORDER, ITEMS, 123_456, "too_late"), EUR)

    assert ("Your order 000000c1 is paid", "Your order 000000c1 could not be paid") == (good.subject, bad.subject)
    for part in (good.text, good.html, bad.text, bad.html):
        assert all(words in part for words in (ORDER, "€1,234.56", "thing-0"))
    for part in (bad.text, bad.html):
        assert "the time for its payment had passed" in part
    assert good.message_id == bad.message_id


def test_a_mail_lists_ten_items_and_counts_the_rest() -> None:
    """A mail about 12 items lists LINES_MAX of them and says "and 2 more"."""
    mail = email(USER, "ann@example.com", order_outcome(ORDER, ITEMS, 1), EUR)

    for part in (mail.text, mail.html):
        assert f"thing-{LINES_MAX - 1}" in part
        assert f"thing-{LINES_MAX}" not in part
        assert "and 2 more" in part


@pytest.mark.parametrize("sku", ["tea", "mug-blue", "MUG_Blue-2-XL", "4006381333931", "a" * 16])
def test_a_plain_sku_is_shown(sku: str) -> None:
    """Letters and digits in up to four words."""
    mail = email(USER, "ann@example.com", order_outcome(ORDER, (Item(sku, 2, 150),), 300), EUR)

    assert f"2 x {sku} at €1.50" in mail.text
    assert f"2 &times; {sku}</td>" in mail.html


@pytest.mark.parametrize("sku", PHISHING, ids=ascii)
def test_any_other_sku_is_the_position_of_its_item(sku: str) -> None:
    """No part of the mail contains a link, an instruction, markup or a control character."""
    items = (Item("tea", 1, 150), Item(sku, 2, 150))
    mail = email(USER, "ann@example.com", order_outcome(ORDER, items, 450), EUR)

    assert "2 x article 2 at €1.50" in mail.text
    assert "2 &times; article 2</td>" in mail.html
    for part in (mail.text, mail.html, mail.subject):
        assert sku not in part
        assert not LINKED.search(part)


def test_money_has_the_symbol_and_the_decimals_of_its_currency() -> None:
    """The yen has no minor unit, and the Kuwaiti dinar has a thousand of them."""
    assert ["€0.00", "€0.05", "€1.50", "€9,999,999,999.99"] == [
        money(minor_units, EUR) for minor_units in (0, 5, 150, 999_999_999_999)
    ]
    assert ["¥1,234", "KWD1.234", "$12.34"] == [
        money(1234, currency) for currency in (Currency("JPY", 0), Currency("KWD", 3), Currency("USD", 2))
    ]


def test_an_email_shows_the_currency() -> None:
    """Text and HTML show each amount in the configured currency."""
    mail = email(USER, "ann@example.com", order_outcome(ORDER, ITEMS[:1], 150), Currency("JPY", 0))

    for part in (mail.text, mail.html):
        assert 3 == part.count("¥150")
