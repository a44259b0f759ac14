"""Erased users: no mail for them is sent, and no copy of one stays in the retry queue.

The mailbox is erased first, and the retry queue is searched then. A process that puts a mail there
looks at the mailbox afterwards. So one of the two finds the mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from services.notification.domain import Mailbox
from services.notification.mail.later import hour_of, later_hours, later_ids
from services.notification.mail.retry_queue import INDEX, MailRetryQueue
from sidecart.chassis.paged_index import PAGE_IDS_MAX, PagedIndex
from sidecart.chassis.record import Record
from sidecart.chassis.store import Store


class _Queued(msgspec.Struct):
    event: str


class ErasedUsers:
    """Tells whether users are erased, and ends their mails in the retry queue."""

    def __init__(self, store: Store, retry_queue: MailRetryQueue) -> None:
        self._store = store
        self._retry_queue = retry_queue

    async def has(self, user_id: str) -> bool:
        """Return whether a user is erased; raise TransientError."""
        mailbox = await self._mailbox(user_id)
        return mailbox is not None and mailbox.erased

    async def end_queued(self, order_id: str, user_id: str) -> bool:
        """End a mail in the retry queue if its user is erased; return whether that is so.

        Its entry may be in no index: its process may have died before it added the entry there.
        """
        if not await self.has(user_id):
            return False
        await self._retry_queue.drop(order_id)
        return True

    async def erase(self, user_id: str) -> None:
        """End all mails of an erased user in the retry queue; raise TransientError."""
        await self._end_of(user_id, await PagedIndex(self._store, INDEX).ids())
        mailbox = await self._mailbox(user_id)
        if mailbox is None or not mailbox.mailed:
            return
        last = datetime.fromtimestamp(max(mailbox.mailed), UTC)
        for hour in await later_hours(self._store, hour_of(last)):
            await self._end_of(user_id, await later_ids(self._store, hour))

    async def _end_of(self, user_id: str, order_ids: Sequence[str]) -> None:
        for start in range(0, len(order_ids), PAGE_IDS_MAX):
            some = order_ids[start : start + PAGE_IDS_MAX]
            values = await self._store.load_many([f"mail-retry:{each}" for each in some])
            for order_id, value in zip(some, values, strict=True):
                if value is not None and user_id in msgspec.json.decode(value, type=_Queued).event:
                    await self._retry_queue.drop(order_id)

    async def _mailbox(self, user_id: str) -> Mailbox | None:
        value, _ = await self._store.load(f"mailbox:{user_id}")
        return (
            None
            if value is None
            else msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=Mailbox | None)
        )
