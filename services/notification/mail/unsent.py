"""The mails that their event does not send: into the retry queue, or dead letters."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

import msgspec
from prometheus_client import Counter

from services.notification.domain import Notification
from services.notification.events import PERSONAL, EmailRequested
from services.notification.mail.delivery import TOPIC, DeliveryAttempt, MailDelivery, notification_key
from services.notification.mail.erasure import ErasedUsers
from services.notification.mail.outcome import Result
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.pacing import pause_until
from sidecart.chassis.dead_letters import REPLAYED, REPLAYING, DeadLetters
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import Received, timestamp
from sidecart.chassis.store import Store
from sidecart.chassis.telemetry import request_context

PACED = Counter("sidecart_mails_paced", "Mails that wait because their user got too many mails in an hour.")

log = logging.getLogger(__name__)

REPLAY_STATUSES = (REPLAYING, REPLAYED)  # the statuses of a dead letter whose mail must be sent again


class UnsentMails:
    """Puts mails into the retry queue, and gives up those that the server refuses."""

    def __init__(
        self,
        delivery: MailDelivery,
        retry_queue: MailRetryQueue,
        store: Store,
        now: Callable[[], datetime],
        erased_users: ErasedUsers,
    ) -> None:
        self.dead_letters = DeadLetters(store, now)
        self.erased_users = erased_users
        self._delivery = delivery
        self._retry_queue = retry_queue
        self._store = store
        self._now = now

    async def takes(self, received: Received[EmailRequested], body: bytes, notification: Notification) -> bool:
        """Take a mail that is settled or queued, or that no session may send now.

        A mail of an erased user is taken and never sent.
        """
        if await self.erased_users.end_queued(received.event.order_id, received.event.user_id):
            return True
        if await self._is_settled(received, body, notification):
            return True
        due = pause_until(notification.not_before, self._now())
        if due is not None:
            await self._pace(received, body, due)
            return True
        if self._delivery.has_room() and self._delivery.reachability.may_try():
            return False
        log.info("%s waits in the retry queue", received.event.order_id)
        await self.queue(received, body, Result("unreachable"))
        return True

    async def _is_settled(self, received: Received[EmailRequested], body: bytes, notification: Notification) -> bool:
        """Return whether the retry queue has the mail, or the mail is a dead letter.

        A replay of the dead letter still sends it.
        """
        if notification.failed_at is None and notification.queued_until is None:
            return False
        order_id = received.event.order_id
        queued = await self._retry_queue.find(order_id)
        if queued is not None and not queued.done:
            await self._retry_queue.enlist(order_id, queued.due)
            if await self.is_replayed(received.id):
                await self._retry_queue.touch(order_id)
            await self.erased_users.end_queued(order_id, received.event.user_id)
            return True
        if notification.failed_at is not None:
            return not await self.is_replayed(received.id)
        if queued is None and notification.queued_until is not None:
            # A process died between its writes of `queued_until` and of the entry.
            due = datetime.fromisoformat(notification.queued_until)
            await self._retry_queue.put(order_id, self._retry_queue.schedule.paced(body, due))
            await self.erased_users.end_queued(order_id, received.event.user_id)
            return True
        return False

    async def _pace(self, received: Received[EmailRequested], body: bytes, due: datetime) -> None:
        """Put a mail into the retry queue until its user may get one more mail."""
        order_id = received.event.order_id
        log.info("%s waits until %s: its user got too many mails", order_id, timestamp(due))
        if await self._delivery.update_notification(notification_key(order_id), queued_until=timestamp(due)):
            await self._retry_queue.put(order_id, self._retry_queue.schedule.paced(body, due))
            await self.erased_users.end_queued(order_id, received.event.user_id)
            PACED.inc()

    async def is_replayed(self, event_id: str) -> bool:
        """Return whether the event is a dead letter that was replayed."""
        value, _ = await self._store.load(f"dead:{event_id}")
        letter = {} if value is None else msgspec.json.decode(value, type=dict[str, str])
        return letter.get("status") in REPLAY_STATUSES

    async def finish(self, attempt: DeliveryAttempt) -> None:
        """Record the result of a session that ended while its event waited.

        Raise PermanentError if the server refused the mail, and TransientError.
        """
        result, attempts = attempt.result, self._delivery.attempts
        self._delivery.count(attempt)
        if result.outcome != "unknown":  # an unknown one stays until the queue has the mail
            attempts.pop(attempt.key, None)
        if result.outcome == "refused":
            attempt.traceparent = current_traceparent()
            await self.give_up(attempt, result.reason)
            raise PermanentError(result.summary, result.detail)
        log.info("%s goes into the retry queue: %s", attempt.received.event.order_id, result.summary)
        await self.queue(attempt.received, attempt.body, result)
        attempts.pop(attempt.key, None)

    async def queue(self, received: Received[EmailRequested], body: bytes, result: Result) -> None:
        """Put a mail into the retry queue after an attempt with this result."""
        order_id, mail = received.event.order_id, self._retry_queue.schedule.new(body, result.outcome)
        if await self._delivery.update_notification(notification_key(order_id), queued_until=timestamp(mail.due)):
            await self._retry_queue.put(order_id, mail)
            await self.erased_users.end_queued(order_id, received.event.user_id)

    async def give_up(self, attempt: DeliveryAttempt, reason: str) -> None:
        """Write the dead letter, then `failed_at`.

        A process that dies in between causes one more attempt; it loses no mail.
        """
        await self.dead_letters.write(TOPIC, attempt.body, reason, attempt.traceparent)
        await self._delivery.update_notification(attempt.key, failed_at=timestamp(self._now()))
        user_id = attempt.received.event.user_id
        if await self.erased_users.has(user_id):  # erased before the dead letter was written
            await self.dead_letters.erase(user_id, PERSONAL)


def current_traceparent() -> str:
    """Return the traceparent of the current request context, or an empty string without one."""
    context = request_context.current()
    return "" if context is None else context.traceparent
