"""Whether flows have ended here: a registration with the user's contact, an order with its note and its mail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chassis.record import Record


class Store(Protocol):
    """What this needs of a sidecar."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for those that are not there."""


class _Mailbox(msgspec.Struct):
    contact: msgspec.Raw = msgspec.Raw(b"null")


class _Notification(msgspec.Struct):
    sent_at: str | None = None


class _Aside(msgspec.Struct):
    over: bool = False


async def users_ended(store: Store, user_ids: Sequence[str]) -> list[bool]:
    """Whether each user's contact is saved."""
    values = await store.load_many([f"mailbox:{user_id}" for user_id in user_ids])
    return [value is not None and _has_contact(value) for value in values]


async def orders_ended(store: Store, order_ids: Sequence[str]) -> list[bool]:
    """Whether each order's note is saved and its mail is sent, given up, or in the retry queue."""
    count = len(order_ids)
    kinds = ("order", "notification", "aside")
    values = await store.load_many([f"{kind}:{order_id}" for kind in kinds for order_id in order_ids])
    notes, mails, asides = values[:count], values[count : 2 * count], values[2 * count :]
    return [
        note is not None and (_is_sent(mail) or _is_waiting(aside))
        for note, mail, aside in zip(notes, mails, asides, strict=True)
    ]


def _has_contact(value: bytes) -> bool:
    mailbox = msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=_Mailbox | None)
    return mailbox is not None and bytes(mailbox.contact) != b"null"


def _is_sent(value: bytes | None) -> bool:
    return value is not None and msgspec.json.decode(value, type=_Notification).sent_at is not None


def _is_waiting(value: bytes | None) -> bool:
    return value is not None and not msgspec.json.decode(value, type=_Aside).over
