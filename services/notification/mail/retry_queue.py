"""The mail retry queue: mails that the server has not confirmed, each with a due time.

`mail-retry:<order id>` holds one mail. `mail-retry-index:<n>` lists the order ids of the unfinished
mails. A mail that waits for more than an hour is listed elsewhere until then (later.py). A replica
claims a due mail by moving `due` ahead with an ETag, and renews the claim while it
sends the mail. So a waiting mail blocks no event and no other mail. The mails of a dead process
become due again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from services.notification.mail.later import LaterMails
from services.notification.mail.outcome import Outcome
from services.notification.mail.retry_schedule import LEASE, ClaimedMail, Mail, RetrySchedule
from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.paged_index import IndexFull, PagedIndex
from sidecart.chassis.store import Store, update

INDEX = "mail-retry-index"
POLL_SECONDS = 5.0
PAGES_MAX = 100  # 10,000 mails; the broker keeps the rest, and each of them blocks a sidecar worker


class MailRetryQueue:
    """The retry queue, shared by all replicas."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        first_pause: timedelta,
        unknown_pause: timedelta = timedelta(hours=1),
    ) -> None:
        self._store = store
        self._now = now
        self.schedule = RetrySchedule(now, first_pause, unknown_pause)
        self.poll_seconds = min(POLL_SECONDS, first_pause.total_seconds(), unknown_pause.total_seconds())
        self._index = PagedIndex(store, INDEX, PAGES_MAX)
        self._later = LaterMails(store, now)
        self._listing = asyncio.Lock()  # prevents ETag conflicts of this process with itself
        self._due: dict[str, datetime] = {}  # known due times; an entry is not loaded before them

    async def find(self, order_id: str) -> Mail | None:
        """Return the entry of an order, finished or not, or None."""
        return (await self._load(order_id))[0]

    async def put(self, order_id: str, mail: Mail) -> ClaimedMail | None:
        """Add a mail and return the claim on it, or None if another process put it there.

        Raise TransientError if the queue is full or the store is unreachable.
        """
        self._due.pop(order_id, None)
        is_new = await self._store.insert(_key(order_id), mail.encoded())
        claimed = ClaimedMail(order_id, mail, None)
        is_ours = is_new or await self._reopen(claimed)
        await self.enlist(order_id, mail.due, is_new=is_new)
        if not is_ours:
            return None
        try:
            await self._take_etag(claimed)
        except Conflict:
            return None
        return claimed

    async def _reopen(self, claimed: ClaimedMail) -> bool:
        """Overwrite a finished entry, whose dead letter was replayed; return whether it is ours.

        An unfinished entry stays as it is.
        """
        known, etag = await self._load(claimed.order_id)
        if known is not None and not known.done:
            return known.encoded() == claimed.mail.encoded()
        try:
            await self._store.save(_key(claimed.order_id), claimed.mail.encoded(), etag)
        except Conflict as conflict:
            raise TransientError(f"{conflict}: another process is writing it") from conflict
        return True

    async def enlist(self, order_id: str, due: datetime | None = None, *, is_new: bool = False) -> None:
        """Add a mail to the index of unfinished mails; raise TransientError if it is full.

        A mail that is due in a later hour is added to that hour's index.
        """
        if due is not None and self._later.holds(due):
            await self._later.add(order_id, due, is_new=is_new)
            return
        async with self._listing:
            try:
                await self._index.add(order_id, is_new=is_new)
            except IndexFull as full:
                raise TransientError(str(full)) from full

    async def touch(self, order_id: str) -> None:
        """Clear the holder of an unfinished mail, to request one more attempt.

        The process that is about to finish the mail then gets a conflict.
        """
        mail, etag = await self._load(order_id)
        if mail is not None and not mail.done:
            try:
                await self._store.save(_key(order_id), mail.changed(holder="").encoded(), etag)
            except Conflict as conflict:
                raise TransientError(f"{conflict}: another process is writing it") from conflict

    async def drop(self, order_id: str) -> None:
        """Finish a mail that must not be sent anymore, also one that a process has claimed."""

        def finish(value: bytes | None) -> tuple[bytes | None, bool]:
            mail = None if value is None else msgspec.json.decode(value, type=Mail)
            if mail is None or mail.done:
                return None, False
            return mail.changed(done=True, event="", holder="").encoded(), True

        if await update(self._store, _key(order_id), finish):
            await self._unlist(order_id)

    # --- Due mails

    async def due(self) -> list[str]:
        """Return the order ids of mails that may be due: unread entries first, then by due time."""
        await self._later.move(self.enlist)
        ids = await self._index.ids()
        self._due = {each: self._due[each] for each in ids if each in self._due}
        now = self._now()
        found = [each for each in ids if self._due.get(each, now) <= now]
        return sorted(found, key=lambda each: (each in self._due, self._due.get(each, now)))

    async def claim(self, order_id: str) -> ClaimedMail | None:
        """Claim a mail for one attempt; None if it is not due or another process claimed it."""
        mail, etag = await self._load(order_id)
        if mail is None or mail.done:
            await self._unlist(order_id)
            return None
        now = self._now()
        if mail.due > now:
            self._due[order_id] = mail.due
            return None
        claimed = ClaimedMail(order_id, self.schedule.claimed(mail), etag)
        try:
            await self._store.save(_key(order_id), claimed.mail.encoded(), etag)
            await self._take_etag(claimed)
        except Conflict:
            return None
        return claimed

    # --- Claimed mails

    async def before_dot(self, claimed: ClaimedMail) -> None:
        """Extend the claim, because the outcome may be unknown after the dot.

        Raise Conflict if another process claimed the mail, or TransientError.
        """
        await self._save(claimed, self.schedule.with_dot(claimed.mail))

    async def renew(self, claimed: ClaimedMail) -> None:
        """Renew the claim; raise Conflict if another process has claimed it, or TransientError."""
        due = self._now() + LEASE
        if claimed.mail.due < due:
            await self._save(claimed, claimed.mail.changed(due=due))

    async def reschedule(self, claimed: ClaimedMail, outcome: Outcome) -> None:
        """Release a mail and set its next due time by the outcome of the attempt."""
        try:
            await self._save(claimed, self.schedule.after(claimed.mail, outcome))
        except Conflict:
            return
        self._due[claimed.order_id] = claimed.mail.due

    async def end(self, claimed: ClaimedMail) -> None:
        """Finish a mail that is sent or a dead letter; keep it if it was requested again."""
        try:
            await self._save(claimed, claimed.mail.changed(done=True, event="", holder=""))
        except Conflict:
            await self._release(claimed)
            return
        await self._unlist(claimed.order_id)

    async def _release(self, claimed: ClaimedMail) -> None:
        """Make a mail due now that was requested again; the outcome of this attempt is known."""
        mail, etag = await self._load(claimed.order_id)
        if mail is None or mail.done or mail.holder:
            return
        self._due.pop(claimed.order_id, None)
        try:
            await self._store.save(_key(claimed.order_id), mail.changed(due=self._now()).encoded(), etag)
        except Conflict:
            return

    async def _unlist(self, order_id: str) -> None:
        """Remove a finished mail from the index; list it again if it was requested meanwhile."""
        async with self._listing:
            await self._index.remove(order_id)
        self._due.pop(order_id, None)
        mail, _ = await self._load(order_id)
        if mail is not None and not mail.done:
            await self.enlist(order_id)

    async def _load(self, order_id: str) -> tuple[Mail | None, str | None]:
        value, etag = await self._store.load(_key(order_id))
        return (None if value is None else msgspec.json.decode(value, type=Mail)), etag

    async def _save(self, claimed: ClaimedMail, mail: Mail) -> None:
        """Save a claimed mail; raise Conflict if another process claimed it, or TransientError.

        A failed save may have succeeded in the store. If the stored entry names the same holder,
        the claim still holds.
        """
        try:
            await self._store.save(_key(claimed.order_id), mail.encoded(), claimed.etag)
        except Conflict:
            known, etag = await self._load(claimed.order_id)
            if known is None or known.done or not claimed.mail.holder or known.holder != claimed.mail.holder:
                raise
            await self._store.save(_key(claimed.order_id), mail.encoded(), etag)
        claimed.mail = mail
        if not mail.done:
            await self._take_etag(claimed)

    async def _take_etag(self, claimed: ClaimedMail) -> None:
        known, etag = await self._load(claimed.order_id)
        if known is None or known.encoded() != claimed.mail.encoded():
            raise Conflict(f"another process claimed {_key(claimed.order_id)}")
        claimed.etag = etag


def _key(order_id: str) -> str:
    return f"mail-retry:{order_id}"
