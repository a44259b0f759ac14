"""Sends mails by SMTP at least once; every copy of a mail has the same Message-ID.

An event waits at most WINDOW_SECONDS for its mail. If the server has not accepted the mail by then,
the mail enters the retry queue (mail_retry_queue.py). The service acknowledges the event, and the
SMTP session continues in the background. So a slow server blocks no worker of the sidecar. A mail
with an unknown outcome waits for its due time, even if the event arrives again.
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

from services.notification.domain import Notification
from services.notification.events import EmailRequested
from services.notification.mail_retry_queue import LEASE, POLL_SECONDS, RETENTION, TOPIC, ClaimedMail, MailRetryQueue
from services.notification.mail_server import CONNECTIONS_MAX, Connections, MailServer, Reachability
from services.notification.mail_session import Outcome, Result, Session, Withdrawn
from services.notification.mime import mime_message
from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import Conflict, PermanentError, TransientError
from sidecart.chassis.events import Received, decode, parse, timestamp
from sidecart.chassis.keyed_locks import KeyedLocks
from sidecart.chassis.outbox import Sidecar
from sidecart.chassis.store import update
from sidecart.chassis.telemetry import request_context, tracing

log = logging.getLogger(__name__)

# An event waits this long for its mail. Together with the events before it, it stays below the
# 20 s after which the broker delivers it again.
WINDOW_SECONDS = 2.0
SESSIONS_MAX = 50  # active sessions, including those in the background; each has a connection
# Accepted mails whose `sent_at` is not saved yet. A mail beyond this limit is sent once more.
UNRECORDED_MAX = 10_000
RETRY_SECONDS = 1.0  # the pause before the result of a mail is saved again after a store failure
STOP_SECONDS_MAX = 5.0  # shutdown waits this long for active sessions
REPLAYED = ("replaying", "replayed")  # the statuses of a dead letter whose mail must be sent again

_MAILS = Counter("sidecart_mails", "Attempts to send a mail, by outcome.", ("outcome",))
MAILS = {outcome: _MAILS.labels(outcome) for outcome in ("sent", "deferred", "refused", "unreachable", "unknown")}
OUTCOME_LABELS: dict[Outcome, str] = {"broken": "unreachable"}
ACTIVE_SESSIONS = Gauge("sidecart_mail_sessions", "Active SMTP sessions, including those in the background.")


@dataclass(slots=True, eq=False)
class DeliveryAttempt:
    """A session that sends one mail, and the claimed entry of the retry queue, if there is one."""

    received: Received[EmailRequested]
    body: bytes
    session: Session
    task: asyncio.Task[Result]
    started_at: datetime
    traceparent: str = ""
    claimed: ClaimedMail | None = None
    is_detached: bool = False
    """True once the session runs in the background and the retry queue owns the mail."""
    is_counted: bool = False
    watcher: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def key(self) -> str:
        """The key of the notification record."""
        return f"notification:{self.received.event.order_id}"

    @property
    def result(self) -> Result:
        """The result of the session; a session cancelled before the dot delivered nothing."""
        if self.task.cancelled():
            return Result("unknown" if self.session.dot_sent else "withdrawn", "the session was stopped")
        return self.task.result()


class Mailer:
    """Handles EmailRequested: sends the mail once, then sets `sent_at` in the notification."""

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
        self._reachability = Reachability(now)
        self._locks = KeyedLocks()  # a repeated event waits until the first one has set `sent_at`
        self._session_limit = asyncio.Semaphore(CONNECTIONS_MAX)
        self._connections = Connections(server)
        self._attempts: dict[str, DeliveryAttempt] = {}
        self._watchers: set[asyncio.Task[None]] = set()
        self._unrecorded: OrderedDict[str, str] = OrderedDict()
        """By notification key: when the server accepted a mail whose `sent_at` is not saved yet."""

    def close(self) -> None:
        """Cancel all sessions and close all connections to the mail server."""
        for task in (*self._watchers, *(each.task for each in self._attempts.values())):
            task.cancel()
        self._connections.close()

    # --- Handling of an event

    async def handle(self, body: bytes) -> None:
        """Send the mail of one EmailRequested, or put the mail into the retry queue.

        Raise PermanentError for a dead letter and TransientError for a redelivery.
        """
        received = self._decode(body)
        key = f"notification:{received.event.order_id}"
        # Load after locking: another replica may send the mail while this one waits for the lock.
        async with self._locks.hold(key), self._session_limit:
            notification, etag = await self._load(key)
            if notification.sent_at is not None or key in self._unrecorded:
                await self._record_sent(key, self._unrecorded.get(key), notification, etag)
                return
            attempt = self._attempts.get(key)
            if attempt is None:
                if await self._is_settled(received, body, notification):
                    return
                if not (self._has_room() and self._reachability.may_try()):
                    log.info("%s waits in the retry queue", received.event.order_id)
                    await self._queue(received, body, Result("unreachable"))
                    return
                attempt = self._begin(received, body)
            await self._wait(attempt)
            if attempt.task.done() and not attempt.is_detached:
                await self._finish(attempt, notification, etag)
            else:
                await self._continue_in_background(attempt)

    async def _is_settled(self, received: Received[EmailRequested], body: bytes, notification: Notification) -> bool:
        """Return whether this event must not send the mail.

        This is so if the retry queue has the mail, or if the mail is a dead letter. A replay of the
        dead letter still sends it.
        """
        if notification.failed_at is None and notification.queued_until is None:
            return False
        order_id = received.event.order_id
        queued = await self._retry_queue.find(order_id)
        if queued is not None and not queued.done:
            await self._retry_queue.enlist(order_id)
            if await self._is_replayed(received.id):
                await self._retry_queue.touch(order_id)
            return True
        if notification.failed_at is not None:
            return not await self._is_replayed(received.id)
        if queued is None and notification.queued_until is not None:
            # A process died between its writes of `queued_until` and of the entry.
            due = datetime.fromisoformat(notification.queued_until)
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
        """Start a session."""
        session = self._session(received.event)
        task = asyncio.create_task(self._run(session, received))
        attempt = DeliveryAttempt(received, body, session, task, self._now())
        self._attempts[attempt.key] = attempt
        ACTIVE_SESSIONS.inc()
        task.add_done_callback(lambda _: ACTIVE_SESSIONS.dec())
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
        """Wait up to the window for the session; cancel it if its event is cancelled."""
        try:
            await asyncio.wait({attempt.task}, timeout=self._window_seconds)
        except asyncio.CancelledError:
            if not attempt.is_detached:
                attempt.task.cancel()
            raise

    async def _finish(self, attempt: DeliveryAttempt, notification: Notification, etag: str | None) -> None:
        """Record the result of a session that ended while its event waited."""
        result, key = attempt.result, attempt.key
        self._count(attempt, result)
        if result.outcome != "unknown":  # an unknown one stays until the queue has the mail
            self._attempts.pop(key, None)
        if result.outcome == "sent":
            await self._record_sent(key, self._remember_sent(key), notification, etag)
        elif result.outcome == "refused":
            attempt.traceparent = _traceparent()
            await self._give_up(attempt, result.reason)
            raise PermanentError(result.summary, result.detail)
        else:
            log.info("%s goes into the retry queue: %s", attempt.received.event.order_id, result.summary)
            await self._queue(attempt.received, attempt.body, result)
            self._attempts.pop(key, None)

    def _count(self, attempt: DeliveryAttempt, result: Result) -> None:
        """Count an attempt and update the reachability of the server."""
        if attempt.is_counted or result.outcome == "withdrawn":
            return
        attempt.is_counted = True
        MAILS[OUTCOME_LABELS.get(result.outcome, result.outcome)].inc()
        if result.outcome == "unreachable":
            self._reachability.failed(attempt.started_at)
        elif result.outcome in ("sent", "deferred", "refused"):
            self._reachability.answered()

    async def _queue(self, received: Received[EmailRequested], body: bytes, result: Result) -> None:
        """Put a mail into the retry queue after an attempt with this result."""
        order_id, mail = received.event.order_id, self._retry_queue.new(body, result.outcome)
        if await self._update_notification(f"notification:{order_id}", queued_until=timestamp(mail.due)):
            await self._retry_queue.put(order_id, mail)

    # --- Sessions in the background

    async def _continue_in_background(self, attempt: DeliveryAttempt) -> None:
        """Put the mail into the retry queue and let its session continue; raise TransientError."""
        if not attempt.is_detached:
            if not attempt.session.is_answered:
                self._reachability.failed(attempt.started_at)
            self._detach(attempt)
        order_id = attempt.received.event.order_id
        async with attempt.lock:
            if attempt.claimed is not None:
                return
            if attempt.task.done():
                raise TransientError(f"the result of {order_id} is being saved")
            try:
                mail = self._retry_queue.new(attempt.body, None, attempt.session.dot_sent)
                if await self._update_notification(attempt.key, queued_until=timestamp(mail.due)):
                    attempt.claimed = await self._retry_queue.put(order_id, mail)
            finally:
                if attempt.claimed is None and not attempt.session.dot_sent:
                    attempt.task.cancel()
        log.info("%s is in the retry queue; the mail server has not replied yet", order_id)

    def _detach(self, attempt: DeliveryAttempt) -> None:
        attempt.is_detached = True
        if not attempt.session.dot_sent:
            attempt.session.before_dot = partial(self._before_dot, attempt)
        attempt.traceparent = _traceparent()
        attempt.watcher = asyncio.create_task(self._watch(attempt))
        self._watchers.add(attempt.watcher)
        attempt.watcher.add_done_callback(self._watchers.discard)

    async def _before_dot(self, attempt: DeliveryAttempt) -> None:
        """Extend the claim on the mail for an unknown outcome; raise Withdrawn without a claim."""
        async with attempt.lock:
            if attempt.claimed is None:
                raise Withdrawn("the mail is not in the retry queue")
            try:
                await self._retry_queue.before_dot(attempt.claimed)
            except (Conflict, TransientError) as error:
                raise Withdrawn(str(error)) from error

    async def _watch(self, attempt: DeliveryAttempt) -> None:
        """Renew the claim on the mail until its session ends, then record the result."""
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
                    log.warning("the result of %s is not saved yet: %s", attempt.received.event.order_id, fault)
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
        """Record the result of a background session; raise TransientError."""
        claimed = attempt.claimed
        if sent_at is not None:
            await self._record_sent(attempt.key, sent_at)
        elif claimed is None:
            # The queue refused the mail or got it from another process; the event arrives again.
            if result.outcome == "unknown" and not await self._is_queued(attempt):
                await self._queue(attempt.received, attempt.body, result)
            return
        elif result.outcome == "refused":
            log.error("dead letter from %s: %s", TOPIC, result.summary)
            await self._give_up(attempt, result.reason)
        elif result.outcome in ("deferred", "unknown", "broken") and self._retry_queue.is_too_old(claimed.mail):
            log.error("dead letter from %s: %s, for %s", TOPIC, result.summary, RETENTION)
            await self._give_up(attempt, f"{result.reason} (for {RETENTION})")
        else:
            log.info("%s waits in the retry queue: %s", attempt.received.event.order_id, result.summary)
            await self._retry_queue.reschedule(claimed, result.outcome)
            return
        if claimed is not None:
            await self._retry_queue.end(claimed)

    async def _is_queued(self, attempt: DeliveryAttempt) -> bool:
        queued = await self._retry_queue.find(attempt.received.event.order_id)
        return queued is not None and not queued.done

    async def _give_up(self, attempt: DeliveryAttempt, reason: str) -> None:
        """Write the dead letter, then `failed_at`.

        A process that dies in between causes one more attempt; it loses no mail.
        """
        await self._dead_letters.write(TOPIC, attempt.body, reason, attempt.traceparent)
        await self._update_notification(attempt.key, failed_at=timestamp(self._now()))

    # --- The retry queue

    async def run(self) -> None:
        """Send each mail of the retry queue when it is due, until cancelled."""
        try:
            while True:
                try:
                    await self.retry_due()
                except TransientError as fault:
                    log.warning("the mail retry queue pauses: %s", fault)
                except Exception:  # a bug that concerns one mail must not stop the others
                    log.exception("a bug in the mail retry queue")
                await asyncio.sleep(
                    min(
                        self._reachability.until_next_probe.total_seconds() or POLL_SECONDS,
                        self._retry_queue.poll_seconds,
                    )
                )
        finally:
            if self._watchers:
                await asyncio.wait(set(self._watchers), timeout=STOP_SECONDS_MAX)
            self.close()

    async def retry_due(self) -> None:
        """Send each due mail once; while the server is unreachable, only one mail probes it."""
        due = iter(await self._retry_queue.due())
        errors: list[Exception] = []

        async def work() -> None:
            for order_id in due:
                if self._reachability.is_unreachable and self._reachability.until_next_probe:
                    return
                try:
                    await self._retry(order_id)
                except Exception as error:
                    errors.append(error)

        await asyncio.gather(*(work() for _ in range(CONNECTIONS_MAX)))
        # Raise a bug before a transient error, so that the log shows it.
        for error in sorted(errors, key=lambda each: isinstance(each, TransientError)):
            raise error

    async def _retry(self, order_id: str) -> None:
        key = f"notification:{order_id}"
        async with self._locks.hold(key), self._session_limit:
            if key in self._attempts or not self._has_room() or self._reachability.until_next_probe:
                return
            claimed = await self._retry_queue.claim(order_id)
            if claimed is None:
                return
            if not self._reachability.may_try():  # another mail became the probe during the claim
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
        """Start a session for a claimed mail; return None if the mail is already settled."""
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
        return _notification(key, value), etag

    async def _record_sent(
        self, key: str, sent_at: str | None, known: Notification | None = None, etag: str | None = None
    ) -> None:
        """Save `sent_at` in the notification unless it is None, and forget the unsaved time."""
        if sent_at is not None:
            await self._update_notification(key, known, etag, sent_at=sent_at, failed_at=None)
        self._unrecorded.pop(key, None)

    async def _update_notification(
        self, key: str, known: Notification | None = None, etag: str | None = None, **change: str | None
    ) -> bool:
        """Change a notification by ETag; return False if `sent_at` is already set."""

        def apply(value: bytes | None) -> tuple[bytes | None, bool]:
            stored = _notification(key, value)
            if stored.sent_at is not None:
                return None, False
            return msgspec.json.encode(replace(stored, **cast(dict[str, Any], change))), True

        loaded = None if known is None else (msgspec.json.encode(known), etag)
        return await update(self._sidecar, key, apply, loaded=loaded)


def _notification(key: str, value: bytes | None) -> Notification:
    if value is None:
        raise PermanentError(f"there is no {key}: no finished order requested this mail")
    return msgspec.json.decode(value, type=Notification)


def _traceparent() -> str:
    """Return the traceparent of the current request context, or an empty string without one."""
    context = request_context.current()
    return "" if context is None else context.traceparent
