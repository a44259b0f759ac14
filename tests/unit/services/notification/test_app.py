"""The list of notifications: each with the amount and the items of its order."""

import msgspec

from services.notification import app
from services.notification.app import ITEMS_BYTES_MAX

NOTE = b'{"order_id":"o","user_id":"u","items":%s,"amount_cents":700}'


def notification(order_id: str) -> bytes:
    """Return the record of one notification."""
    return msgspec.json.encode({"order_id": order_id, "user_id": "u", "kind": "paid", "subject": "Paid"})


def test_a_notification_shows_the_amount_and_the_items_of_its_order() -> None:
    """An order without a note yet, and a note without a notification yet, are no error."""
    listed = app._listed([notification("a"), notification("b"), None], [NOTE % b'[{"sku":"tea"}]', None, NOTE % b"[]"])

    assert [
        {"order_id": "a", "kind": "paid", "subject": "Paid", "sent_at": None}
        | {"amount_cents": 700, "items": [{"sku": "tea"}]},
        {"order_id": "b", "kind": "paid", "subject": "Paid", "sent_at": None},
    ] == msgspec.json.decode(msgspec.json.encode(listed))


def test_the_items_of_a_list_are_bounded_together() -> None:
    """After that many bytes an entry shows its amount only."""
    half = b'"' + b"x" * (ITEMS_BYTES_MAX // 2 - 2) + b'"'
    listed = app._listed([notification("o")] * 3, [NOTE % half] * 3)

    assert [half, half, msgspec.UNSET] == [
        each.items if each.items is msgspec.UNSET else bytes(each.items) for each in listed
    ]
    assert [700] * 3 == [each.amount_cents for each in listed]
