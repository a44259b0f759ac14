"""Sending mail by SMTP: at least once, each with a Message-ID that repeats.

An event waits for its mail for a short while only. What the server has not taken by then is kept in the mail retry
queue (mail_retry_queue.py), and its session goes on outside of the event, which is done. So no worker of the sidecar
is held, and a mail whose outcome is unknown is not sent again before its time, however often it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec
from prometheus_client import Counter, Gauge

from chassis import request_context, tracing
from chassis.dead_letters import DeadLetters
from chassis.errors import Conflict, PermanentError, TransientError
from chassis.events import Received, decode, parse, timestamp
from chassis.keyed_locks import KeyedLocks
from chassis.processor import ATTEMPTS_MAX, Sidecar
from services.notification.domain import Notification
from services.notification.events import EmailRequested
from services.notification.mail_retry_queue import LEASE, LOOK_SECONDS, RETENTION, TOPIC, ClaimedMail, MailRetryQueue
from services.notification.mail_server import CONNECTIONS_MAX, Connections, MailServer, Reach
from services.notification.mail_session import Outcome, Result, Session, Withdrawn
from services.notification.mime import mime_message

log = logging.getLogger(__name__)

WINDOW_SECONDS = 2.0  # an event waits so long for its mail; with those before it, below the 20 s until its redelivery
SESSIONS_MAX = 50  # sessions under way, those without a waiting event included; each of them has a connection
UNRECORDED_MAX = 10_000  # mails that were taken and could not be noted; one that is forgotten is sent once more
RETRY_SECONDS = 1.0  # before what became of a mail is noted again, if the store did not answer
STOP_SECONDS_MAX = 5.0  # for sessions that are under way when the process is told to stop
REPLAYED = ("replaying", "replayed")  # of a dead letter: it was asked for again on purpose

_MAILS = Counter("sidecart_mails", "Tries to send a mail, by how they ended.", ("outcome",))
MAILS = {outcome: _MAILS.labels(outcome) for outcome in ("sent", "deferred", "refused", "unreachable", "unknown")}
COUNTED: dict[Outcome, str] = {"broken": "unreachable"}
UNDER_WAY = Gauge("sidecart_mail_sessions", "SMTP sessions under way, those outside of an event included.")


@dataclass(slots=True, eq=False)
class DeliveryAttempt:
    """One mail on its way, and the entry of the retry queue that this process holds for it, if any."""

    received: Received[EmailRequested]
    body: bytes
    session: Session
    task: asyncio.Task[Result]
    started_at: datetime
    traceparent: str = ""
    claimed: ClaimedMail | None = None
    is_detached: bool = False
    """Whether it goes on without its event; then the event's mail is the retry queue's."""
    is_counted: bool = False
    watcher: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def key(self) -> str:
        """The notification's."""
        return f"notification:{self.received.event.order_id}"

    @property
    def result(self) -> Result:
        """How it ended; a session that was stopped before the dot has delivered nothing."""
        if self.task.cancelled():
            return Result("unknown" if self.session.dot_sent else "withdrawn", "the session was stopped")
        return self.task.result()


class Mailer:
    """Takes EmailRequested: sends the mail unless its notification says that it was sent, then says so there."""

    retry_seconds = RETRY_SECONDS

    def __init__(
        self,
        server: MailServer,
        sender: str,
        sidecar: Sidecar,
        retry_queue: MailRetryQueue,
        now: Callable[[], datetime],
        window_seconds: float | None = WINDOW_SECONDS,
    ) -> None:
        self._sender = sender
        self._sidecar = sidecar
        self._retry_queue = retry_queue
        self._now = now
        self._window_seconds = window_seconds
        self._dead_letters = DeadLetters(sidecar, now)
        self._reach = Reach(now)
        self._locks = KeyedLocks()  # a repeated event waits for the first one's sent_at
        self._session_limit = asyncio.Semaphore(CONNECTIONS_MAX)
        self._connections = Connections(server)
        self._attempts: dict[str, DeliveryAttempt] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._unrecorded: OrderedDict[str, str] = OrderedDict()
        """When the mail server took the mail of a notification whose record does not say so yet."""

    def close(self) -> None:
        """Leave no connection to the mail server, and no session."""
        for task in (*self._watchers, *(each.task for each in self._attempts.values())):
            task.cancel()
        self._connections.close()

    # --- By event

    async def handle(self, body: bytes) -> None:
        """Carry one EmailRequested through, or put it into the retry queue; raise PermanentError or TransientError."""
        received = self._decode(body)
        key = f"notification:{received.event.order_id}"
        # The turn comes first: while we wait for one, another replica may have sent the mail.
        async with self._locks.hold(key), self._session_limit:
            notification, etag = await self._load(key)
            if notification.sent_at is not None or key in self._unrecorded:
                await self._record_sent(key, self._unrecorded.get(key), notification, etag)
                return
            attempt = self._attempts.get(key)
            if attempt is None:
                if await self._is_settled(received, body, notification):
                    return
                if not (self._has_room() and self._reach.may_try()):
                    log.info("%s waits in the retry queue", received.event.order_id)
                    await self._queue(received, body, Result("unreachable"))
                    return
                attempt = self._begin(received, body)
            await self._wait(attempt)
            if attempt.task.done() and not attempt.is_detached:
                await self._finish(attempt, notification, etag)
            else:
                await self._continue_in_background(attempt)

    async def _is_settled(self, received: Received[EmailRequested], body: bytes, noted: Notification) -> bool:
        """Whether the retry queue has the mail, or it was given up: it is not sent because it is asked for again.

        But for a dead letter that was replayed.
        """
        if noted.failed_at is None and noted.queued_until is None:
            return False
        order_id = received.event.order_id
        queued = await self._retry_queue.find(order_id)
        if queued is not None and not queued.done:
            await self._retry_queue.enlist(order_id)
            if await self._is_replayed(received.id):
                await self._retry_queue.touch(order_id)
            return True
        if noted.failed_at is not None:
            return not await self._is_replayed(received.id)
        if queued is None and noted.queued_until is not None:  # a process died before it wrote what it had noted
            due = datetime.fromisoformat(noted.queued_until)
            await self._retry_queue.put(
                order_id, msgspec.structs.replace(self._retry_queue.new(body, "unreachable"), due=due)
            )
            return True
        return False

    async def _is_replayed(self, event_id: str) -> bool:
        value, _ = await self._sidecar.load(f"dead:{event_id}")
        letter = {} if value is None else msgspec.json.decode(value, type=dict[str, str])
        return letter.get("status") in REPLAYED

    def _has_room(self) -> bool:
        return sum(not each.task.done() for each in self._attempts.values()) < SESSIONS_MAX

    def _begin(self, received: Received[EmailRequested], body: bytes) -> DeliveryAttempt:
        """Begin a session."""
        session = self._session(received.event)
        task = asyncio.create_task(self._run(session, received))
        attempt = DeliveryAttempt(received, body, session, task, self._now())
        self._attempts[attempt.key] = attempt
        UNDER_WAY.inc()
        task.add_done_callback(lambda _: UNDER_WAY.dec())
        return attempt

    def _session(self, mail: EmailRequested) -> Session:
        return Session(self._connections, self._sender, mail.to)

    async def _run(self, session: Session, received: Received[EmailRequested]) -> Result:
        try:
            if tracing.spans is None:
                return await session.result(mime_message(received.event, self._sender, received.at))
            with tracing.spans.call("send mail") as traceparent:
                return await session.result(mime_message(received.event, self._sender, received.at, traceparent))
        except PermanentError as fault:
            return Result("refused", str(fault), fault.reason.removeprefix(f"{fault}: "))

    async def _wait(self, attempt: DeliveryAttempt) -> None:
        """Give the session a short while; one that is stopped with its event is stopped too."""
        try:
            await asyncio.wait({attempt.task}, timeout=self._window_seconds)
        except asyncio.CancelledError:
            if not attempt.is_detached:
                attempt.task.cancel()
            raise

    async def _finish(self, attempt: DeliveryAttempt, notification: Notification, etag: str | None) -> None:
        """Do what follows from a session that ended while its event waited."""
        result, key = attempt.result, attempt.key
        self._count(attempt, result)
        if result.outcome != "unknown":  # that one must be remembered until the queue has it
            self._attempts.pop(key, None)
        if result.outcome == "sent":
            await self._record_sent(key, self._remember_sent(key), notification, etag)
        elif result.outcome == "refused":
            attempt.traceparent = _traceparent()
            await self._give_up(attempt, result.reason)
            raise PermanentError(result.what, result.words)
        else:
            log.info("%s is put into the retry queue: %s", attempt.received.event.order_id, result.what)
            await self._queue(attempt.received, attempt.body, result)
            self._attempts.pop(key, None)

    def _count(self, attempt: DeliveryAttempt, result: Result) -> None:
        """Count a try, and learn from it whether the server can be reached."""
        if attempt.is_counted or result.outcome == "withdrawn":
            return
        attempt.is_counted = True
        MAILS[COUNTED.get(result.outcome, result.outcome)].inc()
        if result.outcome == "unreachable":
            self._reach.failed(attempt.started_at)
        elif result.outcome in ("sent", "deferred", "refused"):
            self._reach.answered()

    async def _queue(self, received: Received[EmailRequested], body: bytes, result: Result) -> None:
        """Keep a mail for later, after a try that ended so."""
        order_id, mail = received.event.order_id, self._retry_queue.new(body, result.outcome)
        if await self._update_notification(f"notification:{order_id}", queued_until=timestamp(mail.due)):
            await self._retry_queue.put(order_id, mail)

    # --- Outside of the event

    async def _continue_in_background(self, attempt: DeliveryAttempt) -> None:
        """Let the retry queue have the mail, and the session go on without its event; raise TransientError."""
        if not attempt.is_detached:
            if not attempt.session.is_answered:
                self._reach.failed(attempt.started_at)
            self._detach(attempt)
        order_id = attempt.received.event.order_id
        async with attempt.lock:
            if attempt.claimed is not None:
                return
            if attempt.task.done():
                raise TransientError(f"what became of {order_id} is just being noted")
            try:
                mail = self._retry_queue.new(attempt.body, None, attempt.session.dot_sent)
                if await self._update_notification(attempt.key, queued_until=timestamp(mail.due)):
                    attempt.claimed = await self._retry_queue.put(order_id, mail)
            finally:
                if attempt.claimed is None and not attempt.session.dot_sent:
                    attempt.task.cancel()
        log.info("%s is in the retry queue while the mail server thinks about it", order_id)

    def _detach(self, attempt: DeliveryAttempt) -> None:
        attempt.is_detached = True
        if not attempt.session.dot_sent:
            attempt.session.before_dot = partial(self._before_dot, attempt)
        attempt.traceparent = _traceparent()
        attempt.watcher = asyncio.create_task(self._watch(attempt))
        self._watchers.add(attempt.watcher)
        attempt.watcher.add_done_callback(self._watchers.discard)

    async def _before_dot(self, attempt: DeliveryAttempt) -> None:
        """Let the mail be sent only while it is this process's, and no other's for as long as it is unknown."""
        async with attempt.lock:
            if attempt.claimed is None:
                raise Withdrawn("it is not in the retry queue")
            try:
                await self._retry_queue.before_dot(attempt.claimed)
            except (Conflict, TransientError) as error:
                raise Withdrawn(str(error)) from error

    async def _watch(self, attempt: DeliveryAttempt) -> None:
        """Keep the mail for as long as its session goes on, then do what follows from how that ended."""
        while not attempt.task.done():
            await asyncio.wait({attempt.task}, timeout=LEASE.total_seconds() / 3)
            if not attempt.task.done():
                await self._renew(attempt)
        result = attempt.result
        self._count(attempt, result)
        sent_at = self._remember_sent(attempt.key) if result.outcome == "sent" else None
        async with attempt.lock:
            while True:
                try:
                    await self._record_result(attempt, result, sent_at)
                except TransientError as fault:
                    log.warning("what became of %s is noted later: %s", attempt.received.event.order_id, fault)
                    await asyncio.sleep(self.retry_seconds)
                else:
                    break
        if self._attempts.get(attempt.key) is attempt:
            del self._attempts[attempt.key]

    async def _renew(self, attempt: DeliveryAttempt) -> None:
        async with attempt.lock:
            if attempt.claimed is None:
                return
            try:
                await self._retry_queue.renew(attempt.claimed)
            except (Conflict, TransientError) as error:
                lost = isinstance(error, Conflict) or self._now() > attempt.claimed.mail.due - LEASE / 3
                if lost and not attempt.session.dot_sent:
                    attempt.task.cancel()

    async def _record_result(self, attempt: DeliveryAttempt, result: Result, sent_at: str | None) -> None:
        """Note how a session outside ended; raise TransientError."""
        claimed = attempt.claimed
        if sent_at is not None:
            await self._record_sent(attempt.key, sent_at)
        elif claimed is None:
            # The event comes again: the queue could not take the mail, or has it from another process.
            if result.outcome == "unknown" and not await self._is_queued(attempt):
                await self._queue(attempt.received, attempt.body, result)
            return
        elif result.outcome == "refused":
            log.error("dead letter from %s: %s", TOPIC, result.what)
            await self._give_up(attempt, result.reason)
        elif result.outcome in ("deferred", "unknown", "broken") and self._retry_queue.is_too_old(claimed.mail):
            log.error("dead letter from %s: %s, for %s", TOPIC, result.what, RETENTION)
            await self._give_up(attempt, f"{result.reason} (for {RETENTION})")
        else:
            log.info("%s waits in the retry queue: %s", attempt.received.event.order_id, result.what)
            await self._retry_queue.reschedule(claimed, result.outcome)
            return
        if claimed is not None:
            await self._retry_queue.end(claimed)

    async def _is_queued(self, attempt: DeliveryAttempt) -> bool:
        queued = await self._retry_queue.find(attempt.received.event.order_id)
        return queued is not None and not queued.done

    async def _give_up(self, attempt: DeliveryAttempt, reason: str) -> None:
        """Write the dead letter first: a process that dies before the mark tries once more, and loses nothing."""
        await self._dead_letters.write(TOPIC, attempt.body, reason, attempt.traceparent)
        await self._update_notification(attempt.key, failed_at=timestamp(self._now()))

    # --- The retry queue

    async def run(self) -> None:
        """Try each mail of the retry queue when it is due, until cancelled."""
        try:
            while True:
                try:
                    await self.retry_due()
                except TransientError as fault:
                    log.warning("the mail retry queue waits: %s", fault)
                except Exception:  # whatever is wrong with one of them: the others are tried all the same
                    log.exception("a bug in the work on the mail retry queue")
                await asyncio.sleep(
                    min(self._reach.wait.total_seconds() or LOOK_SECONDS, self._retry_queue.look_seconds)
                )
        finally:
            if self._watchers:
                await asyncio.wait(set(self._watchers), timeout=STOP_SECONDS_MAX)
            self.close()

    async def retry_due(self) -> None:
        """Try each mail that is due, once; while the server cannot be reached, one of them, to see whether it can."""
        due = iter(await self._retry_queue.due())
        errors: list[Exception] = []

        async def work() -> None:
            for order_id in due:
                if self._reach.is_lost and self._reach.wait:
                    return
                try:
                    await self._retry(order_id)
                except Exception as error:
                    errors.append(error)

        await asyncio.gather(*(work() for _ in range(CONNECTIONS_MAX)))
        for error in sorted(errors, key=lambda each: isinstance(each, TransientError)):  # a bug first: it is to be seen
            raise error

    async def _retry(self, order_id: str) -> None:
        key = f"notification:{order_id}"
        async with self._locks.hold(key), self._session_limit:
            if key in self._attempts or not self._has_room() or self._reach.wait:
                return
            claimed = await self._retry_queue.claim(order_id)
            if claimed is None:
                return
            if not self._reach.may_try():  # another mail has become the probe meanwhile
                await self._retry_queue.reschedule(claimed, "withdrawn")
                return
            body = claimed.mail.event.encode()
            context = request_context.start_event(TOPIC, body)
            try:
                with tracing.handling(context):
                    attempt = await self._begin_claimed(claimed, body)
                    if attempt is not None:
                        await asyncio.wait({attempt.task}, timeout=self._window_seconds)
            except PermanentError as fault:
                log.error("dead letter from %s: %s", TOPIC, fault)
                await self._dead_letters.write(TOPIC, body, fault.reason, context.traceparent)
                await self._retry_queue.end(claimed)
                return
            if attempt is not None and attempt.watcher is not None and attempt.task.done():
                await asyncio.wait({attempt.watcher}, timeout=self._window_seconds)

    async def _begin_claimed(self, claimed: ClaimedMail, body: bytes) -> DeliveryAttempt | None:
        """Begin a session for a mail that is held, unless there is nothing more to do."""
        received = self._decode(body)
        key = f"notification:{claimed.order_id}"
        notification, etag = await self._load(key)
        if notification.sent_at is not None or key in self._unrecorded:
            await self._record_sent(key, self._unrecorded.get(key), notification, etag)
            await self._retry_queue.end(claimed)
            return None
        if notification.failed_at is not None and not await self._is_replayed(received.id):
            await self._retry_queue.end(claimed)
            return None
        attempt = self._begin(received, body)
        attempt.claimed = claimed
        self._detach(attempt)
        return attempt

    # --- The notification

    def _decode(self, body: bytes) -> Received[EmailRequested]:
        return decode(parse(TOPIC, body), EmailRequested, self._now())

    def _remember_sent(self, key: str) -> str:
        self._unrecorded[key] = sent_at = timestamp(self._now())
        if len(self._unrecorded) > UNRECORDED_MAX:
            self._unrecorded.popitem(last=False)
        return sent_at

    async def _load(self, key: str) -> tuple[Notification, str | None]:
        value, etag = await self._sidecar.load(key)
        if value is None:
            raise PermanentError(f"there is no {key}: nobody asked for this mail")
        return msgspec.json.decode(value, type=Notification), etag

    async def _record_sent(
        self, key: str, sent_at: str | None, known: Notification | None = None, etag: str | None = None
    ) -> None:
        """Say in the notification that the mail was sent, if it does not say so."""
        if sent_at is not None:
            await self._update_notification(key, known, etag, sent_at=sent_at, failed_at=None)
        self._unrecorded.pop(key, None)

    async def _update_notification(
        self, key: str, known: Notification | None = None, etag: str | None = None, **change: str | None
    ) -> bool:
        """Change a notification by ETag; False if the mail was sent meanwhile."""
        for _ in range(ATTEMPTS_MAX):
            if known is None:
                known, etag = await self._load(key)
            if known.sent_at is not None:
                return False
            try:
                changed = replace(known, **cast(dict[str, Any], change))
                await self._sidecar.save(key, msgspec.json.encode(changed), etag)
            except Conflict:
                known = None
            else:
                return True
        raise TransientError(f"{key}: lost {ATTEMPTS_MAX} races in a row")


def _traceparent() -> str:
    """The trace of what this task is at work on, while that is known."""
    context = request_context.current()
    return "" if context is None else context.traceparent
