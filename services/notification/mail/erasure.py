"""Erased users: no mail for them is sent, and no copy of one stays in the retry queue.

The mailbox is erased first, and the retry queue is searched then. A process that puts a mail there
looks at the mailbox afterwards. So one of the two finds the mail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from services.notification.domain import Mailbox
from services.notification.events import EmailRequested
from services.notification.mail.later import hour_of, later_hours, later_ids
from services.notification.mail.retry_queue import INDEX, MailRetryQueue
from sidecart.chassis.events import Received
from sidecart.chassis.paged_index import PAGE_IDS_MAX, PagedIndex
from sidecart.chassis.record import Record
from sidecart.chassis.store import Store

FRESH = timedelta(seconds=5)
"""An event this old may have waited while its user was erased. A younger one is sent without a look
at the mailbox, which would cost each mail one more read.
"""


class _Event(msgspec.Struct):
    time: datetime


class _Queued(msgspec.Struct):
    event: str


class ErasedUsers:
    """Tells whether users are erased, and ends their mails in the retry queue."""

    def __init__(self, store: Store, retry_queue: MailRetryQueue, now: Callable[[], datetime]) -> None:
        self._store = store
        self._retry_queue = retry_queue
        self._now = now

    async def has(self, user_id: str) -> bool:
        """Return whether a user is erased; raise TransientError."""
        mailbox = await self._mailbox(user_id)
        return mailbox is not None and mailbox.erased

    async def may_not_get(self, received: Received[EmailRequested], body: bytes) -> bool:
        """Return whether an event waited so long that its user is erased by now."""
        return not self._is_fresh(body) and await self.has(received.event.user_id)

    def _is_fresh(self, body: bytes) -> bool:
        """Return whether an event is fresh; clocks of machines differ in both directions."""
        try:
            made_at = msgspec.json.decode(body, type=_Event).time
        except ValueError:
            return False
        return abs(self._now() - (made_at if made_at.tzinfo else made_at.replace(tzinfo=UTC))) < FRESH

    async def end_queued(self, order_id: str, user_id: str) -> None:
        """End a mail that was just put into the retry queue if its user is erased."""
        if await self.has(user_id):
            await self._retry_queue.drop(order_id)

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
        return None if value is None else msgspec.json.decode(
            msgspec.json.decode(value, type=Record).state, type=Mailbox | None
        )
