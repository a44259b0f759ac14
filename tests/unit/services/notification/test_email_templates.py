"""The letters: good news and bad, with the order in them, and nothing that a user wrote unescaped."""

from services.notification.email_templates import LINES_MAX, email, money, order_outcome
from services.notification.events import Item
from tests.unit.services.sample_events import ORDER, USER

ITEMS = tuple(Item(f"thing {number}", number + 1, 150) for number in range(12))


def test_good_news_and_bad_news_are_two_mails() -> None:
    """Each says what happened, with the order and its total, in both forms."""
    good = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 123_456))
    bad = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 123_456, "too_late"))

    assert ("Your order 000000c1 is paid", "Your order 000000c1 could not be paid") == (good.subject, bad.subject)
    for part in (good.text, good.html, bad.text, bad.html):
        assert all(words in part for words in (ORDER, "Ann", "1,234.56", "thing 0"))
    for part in (bad.text, bad.html):
        assert "the time for its payment had passed" in part
    assert good.message_id == bad.message_id


def test_a_long_order_is_cut_and_says_so() -> None:
    """Ten items are written out."""
    mail = email(USER, "ann@example.com", "Ann", order_outcome(ORDER, ITEMS, 1))

    for part in (mail.text, mail.html):
        assert f"thing {LINES_MAX - 1}" in part
        assert f"thing {LINES_MAX}" not in part
        assert "and 2 more" in part


def test_what_users_wrote_is_escaped_in_html() -> None:
    """A name or a sku is no markup."""
    evil = "<script>alert('&')</script>"
    mail = email(USER, "ann@example.com", evil, order_outcome(ORDER, (Item(evil, 1, 1),), 1))

    assert "<script>" not in mail.html
    assert 2 == mail.html.count("&lt;script&gt;alert(&#x27;&amp;&#x27;)&lt;/script&gt;")
    assert evil in mail.text
    assert evil not in mail.subject


def test_money_has_two_decimals() -> None:
    """Cents are whole."""
    assert ["0.00", "0.05", "1.50", "9,999,999,999.99"] == [money(cents) for cents in (0, 5, 150, 999_999_999_999)]
