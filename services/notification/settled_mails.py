"""Which orders' mails are settled: sent, durably in the mail retry queue, or given up as a dead letter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from chassis.paged_index import PagedIndex
from chassis.processor import Sidecar
from services.notification.domain import Notification
from services.notification.mail_retry_queue import INDEX, Mail


class Store(Sidecar, Protocol):
    """A sidecar that reads many records by one call."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for those that are not there."""


async def settled_mails(sidecar: Store, order_ids: Sequence[str]) -> set[str]:
    """Return those whose mail need not be asked for again; raise TransientError.

    One bulk read for the notifications, one for the retry queue's entries of those that are not done. An entry counts
    only if the index lists it: a process may have died between the two, and then the mail has to be asked for again.
    """
    noted = await sidecar.load_many([f"notification:{each}" for each in order_ids])
    done, waiting = set(), []
    for order_id, value in zip(order_ids, noted, strict=True):
        known = None if value is None else msgspec.json.decode(value, type=Notification)
        if known is None:
            continue
        if known.sent_at is not None or known.failed_at is not None:
            done.add(order_id)
        elif known.queued_until is not None:
            waiting.append(order_id)
    if not waiting:
        return done
    queued = await sidecar.load_many([f"mail-retry:{each}" for each in waiting])
    open_ = {
        order_id
        for order_id, value in zip(waiting, queued, strict=True)
        if value is not None and not msgspec.json.decode(value, type=Mail).done
    }
    return done | (open_ & set(await PagedIndex(sidecar, INDEX).ids())) if open_ else done
