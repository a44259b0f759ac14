"""The mails contain the order, and user input is escaped in HTML."""

from services.notification.email_templates import LINES_MAX, email, money, order_outcome
from services.notification.events import Item
from sidecart.chassis.currency import Currency
from tests.unit.services.sample_events import ORDER, USER

EUR = Currency()
ITEMS = tuple(Item(f"thing {number}", number + 1, 150) for number in range(12))


def test_a_paid_and_an_unpaid_order_have_different_mails() -> None:
    """Text and HTML name the order, its total and the outcome; both mails share a Message-ID."""
    good = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 123_456), EUR)
    bad = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 123_456, "too_late"), EUR)

    assert ("Your order 000000c1 is paid", "Your order 000000c1 could not be paid") == (good.subject, bad.subject)
    for part in (good.text, good.html, bad.text, bad.html):
        assert all(words in part for words in (ORDER, "Ann", "€1,234.56", "thing 0"))
    for part in (bad.text, bad.html):
        assert "the time for its payment had passed" in part
    assert good.message_id == bad.message_id


def test_a_mail_lists_ten_items_and_counts_the_rest() -> None:
    """A mail about 12 items lists LINES_MAX of them and says "and 2 more"."""
    mail = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 1), EUR)

    for part in (mail.text, mail.html):
        assert f"thing {LINES_MAX - 1}" in part
        assert f"thing {LINES_MAX}" not in part
        assert "and 2 more" in part


def test_user_input_is_escaped_in_html() -> None:
    """Markup in a name or sku is escaped in the HTML and absent from the subject."""
    evil = "<script>alert('&')</script>"
    mail = email(USER, "ann@example.com", evil, order_outcome(ORDER, (Item(evil, 1, 1),), 1), EUR)

    assert "<script>" not in mail.html
    assert 2 == mail.html.count("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;")
    assert evil in mail.text
    assert evil not in mail.subject


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
    mail = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS[:1], 150), Currency("JPY", 0))

    for part in (mail.text, mail.html):
        assert 3 == part.count("¥150")
