"""Sends each mail by SMTP at least once; every copy of a mail has the same Message-ID.

An ordinary mail takes one attempt: load its notification, send it in one SMTP session, save
`sent_at`. An event waits at most WINDOW_SECONDS for its mail, so a slow server blocks no worker of
the sidecar. The fallback takes every other mail (mailer.py).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol, cast

import msgspec
from prometheus_client import Counter, Gauge

from services.notification.age import is_fresh
from services.notification.domain import Notification
from services.notification.events import EmailRequested
from services.notification.mail.mime import mime_message
from services.notification.mail.outcome import Outcome, Result
from services.notification.mail.reachability import Reachability
from services.notification.mail.retry_schedule import ClaimedMail
from services.notification.mail.server import CONNECTIONS_MAX
from services.notification.mail.session import Session
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import Received, decode, parse, timestamp
from sidecart.chassis.keyed_locks import KeyedLocks
from sidecart.chassis.store import Store, update
from sidecart.chassis.telemetry import tracing

TOPIC = "EmailRequested"
PUBLISHER = "notification"  # the service requests its mails from itself
# An event waits this long for its mail: with the events before it, less than until a redelivery.
WINDOW_SECONDS = 2.0
SESSIONS_MAX = 50  # active sessions, including those in the background; each has a connection
UNRECORDED_MAX = 10_000  # accepted mails whose `sent_at` is not saved; one more is sent again

_MAILS = Counter("sidecart_mails", "Attempts to send a mail, by outcome.", ("outcome",))
MAILS = {outcome: _MAILS.labels(outcome) for outcome in ("sent", "deferred", "refused", "unreachable", "unknown")}
OUTCOME_LABELS: dict[Outcome, str] = {"broken": "unreachable"}
ACTIVE_SESSIONS = Gauge("sidecart_mail_sessions", "Active SMTP sessions, including those in the background.")

Loaded = tuple[bytes | None, str | None]
"""A value of the store, and its ETag."""


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
        return notification_key(self.received.event.order_id)

    @property
    def result(self) -> Result:
        """The result of the session; a session cancelled before the dot delivered nothing."""
        if self.task.cancelled():
            return Result("unknown" if self.session.dot_sent else "withdrawn", "the session was stopped")
        return self.task.result()


class Fallback(Protocol):
    """The treatment of a mail that the first attempt does not send."""

    async def drops(self, received: Received[EmailRequested]) -> bool:
        """Return whether the mail must not be sent, because its user is erased; then end it."""

    async def end(self, received: Received[EmailRequested], body: bytes) -> None:
        """End the retry queue's entry of a sent mail, which may be in no index, and its replay."""

    async def takes(self, received: Received[EmailRequested], body: bytes, notification: Notification) -> bool:
        """Take a mail before its session begins; return False if this event must send it."""

    async def settle(self, attempt: DeliveryAttempt) -> None:
        """Take a mail that its session has not sent, or not yet."""


class MailDelivery:
    """Handles EmailRequested, and holds the sessions of this process."""

    def __init__(
        self,
        new_session: Callable[[EmailRequested], Session],
        sender: str,
        store: Store,
        fallback: Fallback,
        now: Callable[[], datetime],
        window_seconds: float | None = WINDOW_SECONDS,
    ) -> None:
        self.window_seconds = window_seconds
        self.locks = KeyedLocks()  # a repeated event waits until the first one has set `sent_at`
        self.session_limit = asyncio.Semaphore(CONNECTIONS_MAX)
        self.reachability = Reachability(now)
        self.attempts: dict[str, DeliveryAttempt] = {}
        self._new_session = new_session
        self._sender = sender
        self._store = store
        self._fallback = fallback
        self._now = now
        self._unrecorded: OrderedDict[str, str] = OrderedDict()
        """By notification key: when the server accepted a mail whose `sent_at` is not saved yet."""

    async def handle(self, body: bytes) -> None:
        """Send an event's mail or leave it to others; raise PermanentError, TransientError."""
        received = self.decode(body)
        key = notification_key(received.event.order_id)
        # Load after locking: another replica may send the mail while this one waits for the lock.
        async with self.locks.hold(key), self.session_limit:
            notification, loaded = await self.load(key)
            if await self.is_sent(key, notification, loaded):
                if notification.queued_until is not None:
                    await self._fallback.end(received, body)
                return
            attempt = self.attempts.get(key)
            if attempt is None and not is_fresh(body, self._now()) and await self._fallback.drops(received):
                return
            if attempt is None:
                if self._needs_fallback(notification) and await self._fallback.takes(received, body, notification):
                    return
                attempt = self.begin(received, body)
            await self._wait(attempt)
            if attempt.task.done() and not attempt.is_detached and attempt.result.outcome == "sent":
                self.count(attempt)
                self.attempts.pop(key, None)
                await self.record_sent(key, self.remember_sent(key), loaded)
            else:
                await self._fallback.settle(attempt)

    def decode(self, body: bytes) -> Received[EmailRequested]:
        """Decode an EmailRequested event; raise PermanentError."""
        return decode(parse(TOPIC, body, PUBLISHER), EmailRequested, self._now())

    def _needs_fallback(self, notification: Notification) -> bool:
        """Return whether an earlier attempt ended without a 250, or no session may begin now."""
        return (
            notification.not_before is not None
            or notification.queued_until is not None
            or notification.failed_at is not None
            or self.reachability.failures > 0
            or not self.has_room()
        )

    def has_room(self) -> bool:
        """Return whether this process may begin one more session."""
        return sum(not each.task.done() for each in self.attempts.values()) < SESSIONS_MAX

    def begin(self, received: Received[EmailRequested], body: bytes) -> DeliveryAttempt:
        """Start a session."""
        session = self._new_session(received.event)
        task = asyncio.create_task(self._run(session, received))
        attempt = DeliveryAttempt(received, body, session, task, self._now())
        self.attempts[attempt.key] = attempt
        ACTIVE_SESSIONS.inc()
        task.add_done_callback(lambda _: ACTIVE_SESSIONS.dec())
        return attempt

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
            await asyncio.wait({attempt.task}, timeout=self.window_seconds)
        except asyncio.CancelledError:
            if not attempt.is_detached:
                attempt.task.cancel()
            raise

    def count(self, attempt: DeliveryAttempt) -> None:
        """Count a finished attempt and update the reachability of the server."""
        outcome = attempt.result.outcome
        if attempt.is_counted or outcome == "withdrawn":
            return
        attempt.is_counted = True
        MAILS[OUTCOME_LABELS.get(outcome, outcome)].inc()
        if outcome != "sent" or self.reachability.failures:
            self.reachability.learn(outcome, attempt.started_at)

    async def load(self, key: str) -> tuple[Notification, Loaded]:
        """Load a notification; raise PermanentError if there is none."""
        loaded = await self._store.load(key)
        return _notification(key, loaded[0]), loaded

    async def is_sent(self, key: str, notification: Notification, loaded: Loaded) -> bool:
        """Return whether the server accepted the mail; save `sent_at` if it is not saved yet."""
        if notification.sent_at is None and key not in self._unrecorded:
            return False
        await self.record_sent(key, self._unrecorded.get(key), loaded)
        return True

    def remember_sent(self, key: str) -> str:
        """Return the current time, and remember it as `sent_at` until `record_sent` saves it."""
        self._unrecorded[key] = sent_at = timestamp(self._now())
        if len(self._unrecorded) > UNRECORDED_MAX:
            self._unrecorded.popitem(last=False)
        return sent_at

    async def record_sent(self, key: str, sent_at: str | None, loaded: Loaded | None = None) -> None:
        """Save `sent_at` in the notification unless it is None, and forget the unsaved time."""
        if sent_at is not None:
            await self.update_notification(key, loaded, sent_at=sent_at, failed_at=None)
        self._unrecorded.pop(key, None)

    async def update_notification(self, key: str, loaded: Loaded | None = None, **change: str | None) -> bool:
        """Change a notification by ETag; return False if `sent_at` is already set."""

        def apply(value: bytes | None) -> tuple[bytes | None, bool]:
            stored = _notification(key, value)
            if stored.sent_at is not None:
                return None, False
            return msgspec.json.encode(replace(stored, **cast(dict[str, Any], change))), True

        return await update(self._store, key, apply, loaded=loaded)


def notification_key(order_id: str) -> str:
    """Return the key of an order's notification record."""
    return f"notification:{order_id}"


def _notification(key: str, value: bytes | None) -> Notification:
    if value is None:
        raise PermanentError(f"there is no {key}: no finished order requested this mail")
    return msgspec.json.decode(value, type=Notification)
