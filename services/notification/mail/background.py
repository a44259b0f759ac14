"""SMTP sessions in the background, which outlast the events of their mails.

The retry queue owns such a mail. Its entry is claimed by this process, which renews the claim until
the session ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from services.notification.mail.delivery import TOPIC, DeliveryAttempt, MailDelivery
from services.notification.mail.outcome import Result, Withdrawn
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.mail.retry_schedule import LEASE, RETENTION
from services.notification.mail.unsent import UnsentMails, current_traceparent
from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.events import timestamp

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0  # the pause before the result of a mail is saved again after a store failure
STOP_SECONDS_MAX = 5.0  # shutdown waits this long for active sessions


class BackgroundSessions:
    """Watches the sessions without a waiting event, and records their results."""

    def __init__(
        self, delivery: MailDelivery, unsent: UnsentMails, retry_queue: MailRetryQueue, now: Callable[[], datetime]
    ) -> None:
        self.retry_seconds = RETRY_SECONDS
        self._delivery = delivery
        self._unsent = unsent
        self._retry_queue = retry_queue
        self._now = now
        self._watchers: set[asyncio.Task[None]] = set()

    async def keep(self, attempt: DeliveryAttempt) -> None:
        """Put the mail into the retry queue and let its session continue; raise TransientError."""
        if not attempt.is_detached:
            if not attempt.session.is_answered:
                self._delivery.reachability.failed(attempt.started_at)
            self.detach(attempt)
        order_id = attempt.received.event.order_id
        async with attempt.lock:
            if attempt.claimed is not None:
                return
            if attempt.task.done():
                raise TransientError(f"the result of {order_id} is being saved")
            try:
                mail = self._retry_queue.schedule.new(attempt.body, None, attempt.session.dot_sent)
                if await self._delivery.update_notification(attempt.key, queued_until=timestamp(mail.due)):
                    attempt.claimed = await self._retry_queue.put(order_id, mail)
                    await self._unsent.erased_users.end_queued(order_id, attempt.received.event.user_id)
            finally:
                if attempt.claimed is None and not attempt.session.dot_sent:
                    attempt.task.cancel()
        log.info("%s is in the retry queue; the mail server has not replied yet", order_id)

    def detach(self, attempt: DeliveryAttempt) -> None:
        """Watch the session of an attempt until it ends."""
        attempt.is_detached = True
        if not attempt.session.dot_sent:
            attempt.session.before_dot = partial(self._before_dot, attempt)
        attempt.traceparent = current_traceparent()
        attempt.watcher = asyncio.create_task(self._watch(attempt))
        self._watchers.add(attempt.watcher)
        attempt.watcher.add_done_callback(self._watchers.discard)

    async def wait(self) -> None:
        """Wait up to STOP_SECONDS_MAX until each session has ended and its result is saved."""
        if self._watchers:
            await asyncio.wait(set(self._watchers), timeout=STOP_SECONDS_MAX)

    def cancel(self) -> None:
        """Stop watching the sessions."""
        for watcher in self._watchers:
            watcher.cancel()

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
        self._delivery.count(attempt)
        sent_at = self._delivery.remember_sent(attempt.key) if result.outcome == "sent" else None
        async with attempt.lock:
            while True:
                try:
                    await self._record_result(attempt, result, sent_at)
                except TransientError as fault:
                    log.warning("the result of %s is not saved yet: %s", attempt.received.event.order_id, fault)
                    await asyncio.sleep(self.retry_seconds)
                else:
                    break
        if self._delivery.attempts.get(attempt.key) is attempt:
            del self._delivery.attempts[attempt.key]

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
        claimed, schedule = attempt.claimed, self._retry_queue.schedule
        if sent_at is not None:
            await self._delivery.record_sent(attempt.key, sent_at)
            await self._unsent.dead_letters.settle(TOPIC, attempt.body)
        elif claimed is None:
            # The queue refused the mail or got it from another process; the event arrives again.
            if result.outcome == "unknown" and not await self._is_queued(attempt):
                await self._unsent.queue(attempt.received, attempt.body, result)
            return
        elif result.outcome == "refused":
            log.error("dead letter from %s: %s", TOPIC, result.summary)
            await self._unsent.give_up(attempt, result.reason)
        elif result.outcome in ("deferred", "unknown", "broken") and schedule.is_too_old(claimed.mail):
            log.error("dead letter from %s: %s, for %s", TOPIC, result.summary, RETENTION)
            await self._unsent.give_up(attempt, f"{result.reason} (for {RETENTION})")
        else:
            log.info("%s waits in the retry queue: %s", attempt.received.event.order_id, result.summary)
            await self._retry_queue.reschedule(claimed, result.outcome)
            return
        if claimed is not None:
            await self._retry_queue.end(claimed)

    async def _is_queued(self, attempt: DeliveryAttempt) -> bool:
        queued = await self._retry_queue.find(attempt.received.event.order_id)
        return queued is not None and not queued.done
