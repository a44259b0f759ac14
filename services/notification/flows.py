"""Whether flows have ended at this service.

A registration ends with the saved contact, and an erasure with the erased one. An order ends with
its saved data and its settled mail; that of an erased user has no mail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from services.notification.domain import Notification
from services.notification.mail.later import hour_of, later_ids
from services.notification.mail.retry_queue import INDEX
from services.notification.mail.retry_schedule import Mail
from sidecart.chassis.paged_index import PagedIndex
from sidecart.chassis.record import Record
from sidecart.chassis.store import Store


class _Mailbox(msgspec.Struct):
    contact: msgspec.Raw = msgspec.Raw(b"null")
    erased: bool = False


class _Note(msgspec.Struct):
    user_id: str = ""


async def users_ended(store: Store, user_ids: Sequence[str]) -> list[bool]:
    """Return, for each user, whether the contact is saved or erased."""
    return [bytes(each.contact) != b"null" or each.erased for each in await _mailboxes(store, user_ids)]


async def erasures_ended(store: Store, user_ids: Sequence[str]) -> list[bool]:
    """Return, for each user, whether the contact is erased."""
    return [each.erased for each in await _mailboxes(store, user_ids)]


async def orders_ended(store: Store, order_ids: Sequence[str]) -> list[bool]:
    """Return, for each order, whether its data is saved, and its mail is settled.

    The mail of an erased user is settled once it has a record: it is never sent.
    """
    notes = await store.load_many([f"order:{order_id}" for order_id in order_ids])
    mails = await settled_mails(store, order_ids)
    found = zip(order_ids, notes, strict=True)
    user_of = {order_id: msgspec.json.decode(note, type=_Note).user_id for order_id, note in found if note is not None}
    open_ = [order_id for order_id in user_of if order_id not in mails]
    mails |= await _mails_of_the_erased(store, {order_id: user_of[order_id] for order_id in open_}) if open_ else set()
    return [order_id in user_of and order_id in mails for order_id in order_ids]


async def _mails_of_the_erased(store: Store, user_of: Mapping[str, str]) -> set[str]:
    """Return the orders whose users are erased and whose mails have a record."""
    values = await store.load_many([f"notification:{order_id}" for order_id in user_of])
    erased = await erasures_ended(store, list(user_of.values()))
    found = zip(user_of, values, erased, strict=True)
    return {order_id for order_id, value, is_erased in found if value is not None and is_erased}


async def settled_mails(store: Store, order_ids: Sequence[str]) -> set[str]:
    """Return the ids of the orders whose mail is settled; raise TransientError.

    A mail is settled once it is sent, durably in the mail retry queue, or a dead letter. One bulk
    read loads the notifications, a second one the retry queue's entries of unfinished mails. An
    entry counts only if the index or that of its hour lists it. A process can die between the write
    of the entry and the write of the index; that mail must be requested again.
    """
    values = await store.load_many([f"notification:{each}" for each in order_ids])
    done, waiting = set(), []
    for order_id, value in zip(order_ids, values, strict=True):
        notification = None if value is None else msgspec.json.decode(value, type=Notification)
        if notification is None:
            continue
        if notification.sent_at is not None or notification.failed_at is not None:
            done.add(order_id)
        elif notification.queued_until is not None:
            waiting.append(order_id)
    if not waiting:
        return done
    queued = await store.load_many([f"mail-retry:{each}" for each in waiting])
    open_ = {
        order_id: mail
        for order_id, value in zip(waiting, queued, strict=True)
        if value is not None and not (mail := msgspec.json.decode(value, type=Mail)).done
    }
    if not open_:
        return done
    listed = set(await PagedIndex(store, INDEX).ids())
    for hour in {hour_of(mail.due) for order_id, mail in open_.items() if order_id not in listed}:
        listed |= set(await later_ids(store, hour))
    return done | (open_.keys() & listed)


async def _mailboxes(store: Store, user_ids: Sequence[str]) -> list[_Mailbox]:
    values = await store.load_many([f"mailbox:{user_id}" for user_id in user_ids])
    return [_Mailbox() if value is None else _mailbox(value) for value in values]


def _mailbox(value: bytes) -> _Mailbox:
    return msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=_Mailbox | None) or _Mailbox()
