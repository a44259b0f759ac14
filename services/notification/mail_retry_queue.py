"""The mail retry queue: mails that the server has not taken for certain, each tried again when it is due.

`mail-retry:<order id>` holds one mail, `mail-retry-index:<n>` the order ids of those that are not over. Any
replica may try one:
it moves `due` ahead, by ETag, before it tries, and goes on doing so while it tries. So a mail that waits holds up no
other and no event, and a process that dies hands its mails on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from chassis.errors import Conflict, TransientError
from chassis.events import timestamp
from chassis.paged_index import IndexFull, PagedIndex
from chassis.processor import Sidecar
from services.notification.mail_session import Outcome

TOPIC = "EmailRequested"
INDEX = "mail-retry-index"
RETENTION = timedelta(hours=48)  # then it is a dead letter: what most mail servers do
PAUSE_MAX = timedelta(hours=1)
DOUBLINGS_MAX = 12  # of a second make an hour
UNKNOWN_DOUBLINGS_MAX = 3  # of an hour make eight
LOOK_SECONDS = 5.0
BROKEN_PAUSE = timedelta(seconds=5)  # after a server that went in the middle of this mail: it may be back soon
LEASE = timedelta(seconds=30)  # a mail is its process's for so long, and that is renewed while it is tried
PAGES_MAX = 100  # 10,000 mails; the broker keeps the others, each of which holds one of its workers


class Mail(msgspec.Struct, frozen=True):
    """One mail of the queue; `attempts` count refusals, `unknown` the tries whose outcome is not known."""

    event: str
    since: datetime
    due: datetime
    attempts: int = 0
    unknown: int = 0
    holder: str = ""
    done: bool = False


@dataclass(slots=True, eq=False)
class ClaimedMail:
    """A mail that this process may try, for as long as it moves `due` ahead."""

    order_id: str
    mail: Mail
    etag: str | None


class MailRetryQueue:
    """The retry queue, of all replicas."""

    def __init__(
        self,
        sidecar: Sidecar,
        now: Callable[[], datetime],
        first_pause: timedelta,
        unknown_pause: timedelta = timedelta(hours=1),
    ) -> None:
        self._sidecar = sidecar
        self._now = now
        self._first_pause = first_pause
        self._unknown_pause = unknown_pause
        self.look_seconds = min(LOOK_SECONDS, first_pause.total_seconds(), unknown_pause.total_seconds())
        self._index = PagedIndex(sidecar, INDEX, PAGES_MAX)
        self._listing = asyncio.Lock()  # what this process lists goes to the same page: no race with itself
        self._due: dict[str, datetime] = {}  # what need not be read before

    async def find(self, order_id: str) -> Mail | None:
        """Return a mail as it is, over or not."""
        return (await self._load(order_id))[0]

    async def put(self, order_id: str, mail: Mail) -> ClaimedMail | None:
        """Keep a mail for later; None if it is in the queue already. Raise TransientError if it cannot be kept."""
        self._due.pop(order_id, None)
        is_new = await self._sidecar.insert(_key(order_id), _encoded(mail))
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
        """What was over is asked for again (its dead letter was replayed); what is not over goes on as it was."""
        known, etag = await self._load(claimed.order_id)
        if known is not None and not known.done:
            return _encoded(known) == _encoded(claimed.mail)
        try:
            await self._sidecar.save(_key(claimed.order_id), _encoded(claimed.mail), etag)
        except Conflict as conflict:
            raise TransientError(f"{conflict}: another process is at it") from conflict
        return True

    async def enlist(self, order_id: str, *, is_new: bool = False) -> None:
        """Have a mail found by those who look for what is due; raise TransientError if there is no room."""
        async with self._listing:
            try:
                await self._index.add(order_id, is_new=is_new)
            except IndexFull as full:
                raise TransientError(str(full)) from full

    async def touch(self, order_id: str) -> None:
        """Have the process that is about to call a mail over find that it was asked for once more."""
        mail, etag = await self._load(order_id)
        if mail is not None and not mail.done:
            try:
                await self._sidecar.save(_key(order_id), _encoded(_with(mail, holder="")), etag)
            except Conflict as conflict:
                raise TransientError(f"{conflict}: another process is at it") from conflict

    # --- What is due

    async def due(self) -> list[str]:
        """The mails that may be due: those not looked at yet first, then by their time."""
        ids = await self._index.ids()
        self._due = {each: self._due[each] for each in ids if each in self._due}
        now = self._now()
        found = [each for each in ids if self._due.get(each, now) <= now]
        return sorted(found, key=lambda each: (each in self._due, self._due.get(each, now)))

    async def claim(self, order_id: str) -> ClaimedMail | None:
        """Take a mail for one try, if it is due; None if it is not, or another process was faster."""
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
            await self._sidecar.save(_key(order_id), _encoded(claimed.mail), etag)
            await self._take_etag(claimed)
        except Conflict:
            return None
        return claimed

    # --- What is held

    def new(self, event: bytes, outcome: Outcome | None, dot_sent: bool = False) -> Mail:
        """A mail as it comes into the queue: after a try that ended so, or with None during one."""
        now = self._now()
        mail = Mail(event.decode(), since=now, due=now)
        if outcome is None:
            return _with(mail, due=now + self._lead(dot_sent), holder=secrets.token_hex(8))
        return self._after(mail, outcome)

    async def before_dot(self, claimed: ClaimedMail) -> None:
        """Note that the outcome may be unknown from now on; raise Conflict if it is another's mail, or
        TransientError.
        """
        await self._save(claimed, _with(claimed.mail, due=self._now() + self._lead(dot_sent=True)))

    async def renew(self, claimed: ClaimedMail) -> None:
        """Keep a mail for this process while it is tried; raise Conflict if it is no more its own, or
        TransientError.
        """
        due = self._now() + LEASE
        if claimed.mail.due < due:
            await self._save(claimed, _with(claimed.mail, due=due))

    def _lead(self, dot_sent: bool) -> timedelta:
        """For how long no other process may try: if this process dies after the dot, the outcome is unknown."""
        return max(self._unknown_pause, LEASE) if dot_sent else LEASE

    def is_too_old(self, mail: Mail) -> bool:
        """Whether a mail was tried for long enough."""
        return self._now() - mail.since >= RETENTION

    async def reschedule(self, claimed: ClaimedMail, outcome: Outcome) -> None:
        """Have a mail tried again, when depends on how the try ended."""
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
        """The mail is sent, or a dead letter: have it tried no more, unless it was asked for again meanwhile."""
        try:
            await self._save(claimed, _with(claimed.mail, done=True, event="", holder=""))
        except Conflict:
            await self._release(claimed)
            return
        await self._unlist(claimed.order_id)

    async def _release(self, claimed: ClaimedMail) -> None:
        """It was asked for once more: what became of this try is known, so the next one need not wait."""
        mail, etag = await self._load(claimed.order_id)
        if mail is None or mail.done or mail.holder:
            return
        self._due.pop(claimed.order_id, None)
        try:
            await self._sidecar.save(_key(claimed.order_id), _encoded(_with(mail, due=self._now())), etag)
        except Conflict:
            return

    async def _unlist(self, order_id: str) -> None:
        """List a mail that is over no more; it may be asked for again at this very moment."""
        async with self._listing:
            await self._index.remove(order_id)
        self._due.pop(order_id, None)
        mail, _ = await self._load(order_id)
        if mail is not None and not mail.done:
            await self.enlist(order_id)

    async def _load(self, order_id: str) -> tuple[Mail | None, str | None]:
        value, etag = await self._sidecar.load(_key(order_id))
        return (None if value is None else msgspec.json.decode(value, type=Mail)), etag

    async def _save(self, claimed: ClaimedMail, mail: Mail) -> None:
        """Write a mail that is held; raise Conflict if another process has it, or TransientError.

        A save that failed may have been done: what then bears the name of this holder is still its own.
        """
        try:
            await self._sidecar.save(_key(claimed.order_id), _encoded(mail), claimed.etag)
        except Conflict:
            known, etag = await self._load(claimed.order_id)
            if known is None or known.done or not claimed.mail.holder or known.holder != claimed.mail.holder:
                raise
            await self._sidecar.save(_key(claimed.order_id), _encoded(mail), etag)
        claimed.mail = mail
        if not mail.done:
            await self._take_etag(claimed)

    async def _take_etag(self, claimed: ClaimedMail) -> None:
        known, etag = await self._load(claimed.order_id)
        if known is None or _encoded(known) != _encoded(claimed.mail):
            raise Conflict(f"{_key(claimed.order_id)} is another process's")
        claimed.etag = etag


def _with(mail: Mail, **change: object) -> Mail:
    return msgspec.structs.replace(mail, **change)


def _key(order_id: str) -> str:
    return f"mail-retry:{order_id}"


def _encoded(mail: Mail) -> bytes:
    fields = msgspec.structs.asdict(mail) | {"since": timestamp(mail.since), "due": timestamp(mail.due)}
    return msgspec.json.encode(fields)
