"""Mails that the server refuses for now (greylisting, a full mailbox): put aside, and tried again with back-off.

`aside:<order id>` holds one mail, `aside-index:<n>` the order ids of those that are not over. Any replica may try one:
it moves the time of the next try, by ETag, before it tries. So a mail that is put off holds up no other, and no event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec

from chassis import handled, tracing
from chassis.dead_letters import DeadLetters
from chassis.deliver import Sidecar
from chassis.errors import Conflict, EventFault, WorldFault
from chassis.events import timestamp
from chassis.pages import Full, Pages

log = logging.getLogger(__name__)

TOPIC = "EmailRequested"
KEPT = timedelta(hours=48)  # then it is a dead letter: what most mail servers do
PAUSE_MAX = timedelta(hours=1)
DOUBLINGS_MAX = 12  # of a second make an hour
PAGES_MAX = 100  # 10,000 mails; the broker keeps the others, each of which holds one of its workers
AT_ONCE_MAX = 4
LOOK_SECONDS = 5.0

Send = Callable[[bytes], Awaitable[None]]


class RefusedForNow(Exception):
    """The mail server said 4xx to this mail; its words, which may quote the recipient, are in `reason`."""

    def __init__(self, what: str, words: str = "") -> None:
        super().__init__(what)
        self.reason = f"{what}: {words}" if words else what


class Mail(msgspec.Struct):
    """One mail that was put aside."""

    event: str
    since: datetime
    due: datetime
    attempts: int = 0
    over: bool = False


class Aside:
    """The mails that were put aside, of all replicas."""

    def __init__(self, sidecar: Sidecar, now: Callable[[], datetime], first_pause: timedelta) -> None:
        self._sidecar = sidecar
        self._now = now
        self._first_pause = first_pause
        self._pages = Pages(sidecar, "aside-index", PAGES_MAX)
        self._due: dict[str, datetime] = {}  # what need not be read before

    async def put(self, order_id: str, event: bytes) -> None:
        """Keep a mail for later; raise WorldFault if it cannot be kept."""
        now = self._now()
        self._due.pop(order_id, None)
        mail = Mail(event.decode(), since=now, due=now + self._first_pause)
        if not await self._sidecar.insert(_key(order_id), _encoded(mail)):
            await self._begin_again(order_id, mail)
        try:
            await self._pages.add(order_id, is_new=False)
        except Full as full:
            raise WorldFault(str(full)) from full

    async def _begin_again(self, order_id: str, mail: Mail) -> None:
        """What was over is asked for again (somebody replayed its dead letter); what is not goes on as it was.

        It is written in either case: whoever is just about to call it over finds that it was asked for once more.
        """
        value, etag = await self._sidecar.load(_key(order_id))
        known = None if value is None else msgspec.json.decode(value, type=Mail)
        try:
            await self._sidecar.save(_key(order_id), _encoded(mail if known is None or known.over else known), etag)
        except Conflict as conflict:
            raise WorldFault(f"{conflict}: somebody else is at it") from conflict

    async def carry(self, send: Send, dead_letters: DeadLetters) -> None:
        """Try each mail when its time has come, until cancelled."""
        while True:
            try:
                await self.try_those_due(send, dead_letters)
            except WorldFault as fault:
                log.warning("mails that were put aside wait: %s", fault)
            except Exception:  # whatever is wrong with one of them: the others are tried all the same
                log.exception("a bug in the work on mails that were put aside")
            await asyncio.sleep(min(LOOK_SECONDS, self._first_pause.total_seconds()))

    async def try_those_due(self, send: Send, dead_letters: DeadLetters) -> None:
        """Try each mail whose time has come, once."""
        ids = await self._pages.ids()
        self._due = {each: self._due[each] for each in ids if each in self._due}
        now, free = self._now(), asyncio.Semaphore(AT_ONCE_MAX)

        async def try_one(order_id: str) -> None:
            async with free:
                await self._try(order_id, send, dead_letters)

        due = [each for each in ids if self._due.get(each, now) <= now]
        results = await asyncio.gather(*(try_one(each) for each in due), return_exceptions=True)
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in sorted(errors, key=lambda each: isinstance(each, WorldFault)):  # a bug first: it is to be seen
            raise error

    async def _try(self, order_id: str, send: Send, dead_letters: DeadLetters) -> None:
        claimed = await self._claim(order_id)
        if claimed is None:
            return
        mail, etag = claimed
        event = mail.event.encode()
        about = handled.event(TOPIC, event)
        try:
            with tracing.handling(about):
                await send(event)
        except RefusedForNow as refusal:
            if self._now() - mail.since < KEPT:
                return
            log.error("dead letter from %s: %s, for %s", TOPIC, refusal, KEPT)
            await dead_letters.write(TOPIC, event, f"{refusal.reason} (for {KEPT})", about.traceparent)
        except EventFault as fault:
            log.error("dead letter from %s: %s", TOPIC, fault)
            await dead_letters.write(TOPIC, event, fault.reason, about.traceparent)
        except WorldFault:
            await self._put_back(order_id, mail, etag)
            raise
        await self._end(order_id, mail, etag)

    async def _claim(self, order_id: str) -> tuple[Mail, str | None] | None:
        """Move the time of the next try and return the mail with its ETag, if its time has come.

        None if it has not, or somebody else has just done so.
        """
        value, etag = await self._sidecar.load(_key(order_id))
        mail = None if value is None else msgspec.json.decode(value, type=Mail)
        if mail is None or mail.over:
            await self._unlist(order_id)
            return None
        now = self._now()
        if mail.due <= now:
            mail.attempts += 1
            mail.due = now + min(self._first_pause * 2.0 ** min(mail.attempts, DOUBLINGS_MAX), PAUSE_MAX)
            try:
                await self._sidecar.save(_key(order_id), _encoded(mail), etag)
            except Conflict:
                return None
            self._due[order_id] = mail.due
            value, etag = await self._sidecar.load(_key(order_id))
            is_ours = value is not None and _encoded(msgspec.json.decode(value, type=Mail)) == _encoded(mail)
            return (mail, etag) if is_ours else None
        self._due[order_id] = mail.due
        return None

    async def _end(self, order_id: str, mail: Mail, etag: str | None) -> None:
        mail.over, mail.event = True, ""
        try:
            await self._sidecar.save(_key(order_id), _encoded(mail), etag)
        except Conflict:  # it was asked for once more: whoever tries it next finds sent_at, or tries
            return
        await self._unlist(order_id)

    async def _unlist(self, order_id: str) -> None:
        """List a mail that is over no more; it may be asked for again at this very moment."""
        await self._pages.remove(order_id)
        value, _ = await self._sidecar.load(_key(order_id))
        if value is not None and not msgspec.json.decode(value, type=Mail).over:
            await self._pages.add(order_id, is_new=False)

    async def _put_back(self, order_id: str, mail: Mail, etag: str | None) -> None:
        """The server was away, and said nothing of this mail: it is not a try."""
        mail.attempts, mail.due = max(0, mail.attempts - 1), self._now() + self._first_pause
        try:
            await self._sidecar.save(_key(order_id), _encoded(mail), etag)
        except Conflict:
            return
        self._due[order_id] = mail.due


def _key(order_id: str) -> str:
    return f"aside:{order_id}"


def _encoded(mail: Mail) -> bytes:
    times = {"since": timestamp(mail.since), "due": timestamp(mail.due)}
    return msgspec.json.encode({"event": mail.event, **times, "attempts": mail.attempts, "over": mail.over})
