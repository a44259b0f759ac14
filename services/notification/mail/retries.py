"""Retries: each mail of the retry queue begins a session in the background when it is due."""

from __future__ import annotations

import asyncio
import logging

from services.notification.mail.background import BackgroundSessions
from services.notification.mail.delivery import TOPIC, DeliveryAttempt, MailDelivery, notification_key
from services.notification.mail.retry_queue import POLL_SECONDS, MailRetryQueue
from services.notification.mail.retry_schedule import ClaimedMail
from services.notification.mail.server import CONNECTIONS_MAX
from services.notification.mail.unsent import UnsentMails
from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.telemetry import request_context, tracing

log = logging.getLogger(__name__)


class MailRetries:
    """Sends the due mails of the retry queue."""

    def __init__(
        self,
        delivery: MailDelivery,
        unsent: UnsentMails,
        background: BackgroundSessions,
        retry_queue: MailRetryQueue,
    ) -> None:
        self._delivery = delivery
        self._unsent = unsent
        self._background = background
        self._retry_queue = retry_queue

    async def run(self) -> None:
        """Send each mail of the retry queue when it is due, until cancelled."""
        while True:
            try:
                await self.retry_due()
            except TransientError as fault:
                log.warning("the mail retry queue pauses: %s", fault)
            except Exception:  # a bug that concerns one mail must not stop the others
                log.exception("a bug in the mail retry queue")
            until_next_probe = self._delivery.reachability.until_next_probe
            await asyncio.sleep(min(until_next_probe.total_seconds() or POLL_SECONDS, self._retry_queue.poll_seconds))

    async def retry_due(self) -> None:
        """Send each due mail once; while the server is unreachable, only one mail probes it."""
        due = iter(await self._retry_queue.due())
        errors: list[Exception] = []

        async def work() -> None:
            for order_id in due:
                if self._delivery.reachability.until_next_probe:
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
        delivery = self._delivery
        key = notification_key(order_id)
        async with delivery.locks.hold(key), delivery.session_limit:
            if key in delivery.attempts or not delivery.has_room() or delivery.reachability.until_next_probe:
                return
            claimed = await self._retry_queue.claim(order_id)
            if claimed is None:
                return
            if not delivery.reachability.may_try():  # another mail became the probe during the claim
                await self._retry_queue.reschedule(claimed, "withdrawn")
                return
            body = claimed.mail.event.encode()
            context = request_context.start_event(TOPIC, body)
            try:
                with tracing.handling(context):
                    attempt = await self._begin(claimed, body)
                    if attempt is not None:
                        await asyncio.wait({attempt.task}, timeout=delivery.window_seconds)
            except PermanentError as fault:
                log.error("dead letter from %s: %s", TOPIC, fault)
                await self._unsent.dead_letters.write(TOPIC, body, fault.reason, context.traceparent)
                await self._retry_queue.end(claimed)
                return
            if attempt is not None and attempt.watcher is not None and attempt.task.done():
                await asyncio.wait({attempt.watcher}, timeout=delivery.window_seconds)

    async def _begin(self, claimed: ClaimedMail, body: bytes) -> DeliveryAttempt | None:
        """Start a session for a claimed mail; return None if the mail is already settled."""
        received = self._delivery.decode(body)
        key = notification_key(claimed.order_id)
        notification, loaded = await self._delivery.load(key)
        if await self._delivery.is_sent(key, notification, loaded):
            await self._unsent.dead_letters.settle(TOPIC, body)
            await self._retry_queue.end(claimed)
            return None
        if await self._unsent.erased_users.has(received.event.user_id):
            await self._retry_queue.end(claimed)
            return None
        if notification.failed_at is not None and not await self._unsent.is_replayed(received.id):
            await self._retry_queue.end(claimed)
            return None
        attempt = self._delivery.begin(received, body)
        attempt.claimed = claimed
        self._background.detach(attempt)
        return attempt
