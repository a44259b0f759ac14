"""Whether flows have ended at this service.

A registration ends with the saved contact; an order ends with its saved data and its settled mail.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.notification.settled_mails import settled_mails
from sidecart.chassis.record import Record
from sidecart.chassis.store import Store


class _Mailbox(msgspec.Struct):
    contact: msgspec.Raw = msgspec.Raw(b"null")


async def users_ended(store: Store, user_ids: Sequence[str]) -> list[bool]:
    """Return, for each user, whether the contact is saved."""
    values = await store.load_many([f"mailbox:{user_id}" for user_id in user_ids])
    return [value is not None and _has_contact(value) for value in values]


async def orders_ended(store: Store, order_ids: Sequence[str]) -> list[bool]:
    """Return, for each order, whether its data is saved and its mail is settled."""
    notes = await store.load_many([f"order:{order_id}" for order_id in order_ids])
    mails = await settled_mails(store, order_ids)
    return [note is not None and order_id in mails for order_id, note in zip(order_ids, notes, strict=True)]


def _has_contact(value: bytes) -> bool:
    mailbox = msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=_Mailbox | None)
    return mailbox is not None and bytes(mailbox.contact) != b"null"
