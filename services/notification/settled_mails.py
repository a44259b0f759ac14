"""Finds settled mails: sent, durably in the mail retry queue, or given up as a dead letter."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.notification.domain import Notification
from services.notification.mail_retry_queue import INDEX, Mail
from sidecart.chassis.paged_index import PagedIndex
from sidecart.chassis.store import Store


async def settled_mails(store: Store, order_ids: Sequence[str]) -> set[str]:
    """Return the ids of the orders whose mail is settled; raise TransientError.

    One bulk read loads the notifications, a second one the retry queue's entries of unfinished
    mails. An entry counts only if the index lists it. A process can die between the write of the
    entry and the write of the index; that mail must be requested again.
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
        order_id
        for order_id, value in zip(waiting, queued, strict=True)
        if value is not None and not msgspec.json.decode(value, type=Mail).done
    }
    return done | (open_ & set(await PagedIndex(store, INDEX).ids())) if open_ else done
