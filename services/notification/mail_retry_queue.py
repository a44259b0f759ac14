"""The mail retry queue: mails that the server has not confirmed, each with a due time.

`mail-retry:<order id>` holds one mail. `mail-retry-index:<n>` lists the order ids of the unfinished
mails. A replica claims a due mail by moving `due` ahead with an ETag, and renews the claim while it
sends the mail. So a waiting mail blocks no event and no other mail. The mails of a dead process
become due again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from services.notification.mail_session import Outcome
from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.events import timestamp
from sidecart.chassis.paged_index import IndexFull, PagedIndex
from sidecart.chassis.store import Store

TOPIC = "EmailRequested"
INDEX = "mail-retry-index"
RETENTION = timedelta(hours=48)  # then the mail becomes a dead letter, as on most mail servers
PAUSE_MAX = timedelta(hours=1)
DOUBLINGS_MAX = 12  # from one second to more than an hour
UNKNOWN_DOUBLINGS_MAX = 3  # from one hour to eight hours
POLL_SECONDS = 5.0
BROKEN_PAUSE = timedelta(seconds=5)  # after a lost connection; the server may be back soon
LEASE = timedelta(seconds=30)  # the duration of a claim; a process renews it while it sends
PAGES_MAX = 100  # 10,000 mails; the broker keeps the rest, and each of them blocks a sidecar worker


class Mail(msgspec.Struct, frozen=True):
    """An entry of the queue.

    `attempts` counts temporary refusals and lost connections, `unknown` the attempts with an
    unknown outcome. `holder` names the claim. `done` is True once the mail is settled.
    """

    event: str
    since: datetime
    due: datetime
    attempts: int = 0
    unknown: int = 0
    holder: str = ""
    done: bool = False


@dataclass(slots=True, eq=False)
class ClaimedMail:
    """A mail that this process may send, as long as it keeps `due` in the future."""

    order_id: str
    mail: Mail
    etag: str | None


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
        self._first_pause = first_pause
        self._unknown_pause = unknown_pause
        self.poll_seconds = min(POLL_SECONDS, first_pause.total_seconds(), unknown_pause.total_seconds())
        self._index = PagedIndex(store, INDEX, PAGES_MAX)
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
        is_new = await self._store.insert(_key(order_id), _encoded(mail))
        claimed = ClaimedMail(order_id, mail, None)
        is_ours = is_new or await self._reopen(claimed)
        await self.enlist(order_id, is_new=is_new)
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
            return _encoded(known) == _encoded(claimed.mail)
        try:
            await self._store.save(_key(claimed.order_id), _encoded(claimed.mail), etag)
        except Conflict as conflict:
            raise TransientError(f"{conflict}: another process is writing it") from conflict
        return True

    async def enlist(self, order_id: str, *, is_new: bool = False) -> None:
        """Add a mail to the index of unfinished mails; raise TransientError if it is full."""
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
                await self._store.save(_key(order_id), _encoded(_with(mail, holder="")), etag)
            except Conflict as conflict:
                raise TransientError(f"{conflict}: another process is writing it") from conflict

    # --- Due mails

    async def due(self) -> list[str]:
        """Return the order ids of mails that may be due: unread entries first, then by due time."""
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
        claimed = ClaimedMail(order_id, _with(mail, due=now + LEASE, holder=secrets.token_hex(8)), etag)
        try:
            await self._store.save(_key(order_id), _encoded(claimed.mail), etag)
            await self._take_etag(claimed)
        except Conflict:
            return None
        return claimed

    # --- Claimed mails

    def new(self, event: bytes, outcome: Outcome | None, dot_sent: bool = False) -> Mail:
        """Return a new entry; `outcome` is that of the first attempt, or None while it runs."""
        now = self._now()
        mail = Mail(event.decode(), since=now, due=now)
        if outcome is None:
            return _with(mail, due=now + self._exclusive_for(dot_sent), holder=secrets.token_hex(8))
        return self._after(mail, outcome)

    async def before_dot(self, claimed: ClaimedMail) -> None:
        """Extend the claim, because the outcome may be unknown after the dot.

        Raise Conflict if another process claimed the mail, or TransientError.
        """
        await self._save(claimed, _with(claimed.mail, due=self._now() + self._exclusive_for(dot_sent=True)))

    async def renew(self, claimed: ClaimedMail) -> None:
        """Renew the claim; raise Conflict if another process has claimed it, or TransientError."""
        due = self._now() + LEASE
        if claimed.mail.due < due:
            await self._save(claimed, _with(claimed.mail, due=due))

    def _exclusive_for(self, dot_sent: bool) -> timedelta:
        """Return for how long other processes must not send the mail.

        After the dot it is longer: if this process dies then, the outcome is unknown.
        """
        return max(self._unknown_pause, LEASE) if dot_sent else LEASE

    def is_too_old(self, mail: Mail) -> bool:
        """Return whether the mail has been in the queue for the whole retention time."""
        return self._now() - mail.since >= RETENTION

    async def reschedule(self, claimed: ClaimedMail, outcome: Outcome) -> None:
        """Release a mail and set its next due time by the outcome of the attempt."""
        try:
            await self._save(claimed, self._after(claimed.mail, outcome))
        except Conflict:
            return
        self._due[claimed.order_id] = claimed.mail.due

    def _after(self, mail: Mail, outcome: Outcome) -> Mail:
        now = self._now()
        if outcome == "unknown":
            pause = self._unknown_pause * 2.0 ** min(mail.unknown, UNKNOWN_DOUBLINGS_MAX)
            return _with(mail, due=now + pause, unknown=mail.unknown + 1, holder="")
        if outcome in ("deferred", "broken"):
            first = self._first_pause if outcome == "deferred" else min(self._first_pause, BROKEN_PAUSE)
            pause = min(first * 2.0 ** min(mail.attempts, DOUBLINGS_MAX), PAUSE_MAX)
            return _with(mail, due=now + pause, attempts=mail.attempts + 1, holder="")
        return _with(mail, due=now, holder="")

    async def end(self, claimed: ClaimedMail) -> None:
        """Finish a mail that is sent or a dead letter; keep it if it was requested again."""
        try:
            await self._save(claimed, _with(claimed.mail, done=True, event="", holder=""))
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
            await self._store.save(_key(claimed.order_id), _encoded(_with(mail, due=self._now())), etag)
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
            await self._store.save(_key(claimed.order_id), _encoded(mail), claimed.etag)
        except Conflict:
            known, etag = await self._load(claimed.order_id)
            if known is None or known.done or not claimed.mail.holder or known.holder != claimed.mail.holder:
                raise
            await self._store.save(_key(claimed.order_id), _encoded(mail), etag)
        claimed.mail = mail
        if not mail.done:
            await self._take_etag(claimed)

    async def _take_etag(self, claimed: ClaimedMail) -> None:
        known, etag = await self._load(claimed.order_id)
        if known is None or _encoded(known) != _encoded(claimed.mail):
            raise Conflict(f"another process claimed {_key(claimed.order_id)}")
        claimed.etag = etag


def _with(mail: Mail, **change: object) -> Mail:
    return msgspec.structs.replace(mail, **change)


def _key(order_id: str) -> str:
    return f"mail-retry:{order_id}"


def _encoded(mail: Mail) -> bytes:
    fields = msgspec.structs.asdict(mail) | {"since": timestamp(mail.since), "due": timestamp(mail.due)}
    return msgspec.json.encode(fields)
