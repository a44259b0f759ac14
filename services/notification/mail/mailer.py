"""The Mailer: the delivery of mails together with everything that an unsent mail needs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from services.notification.domain import Notification
from services.notification.events import EmailRequested
from services.notification.mail.background import BackgroundSessions
from services.notification.mail.delivery import TOPIC, WINDOW_SECONDS, DeliveryAttempt, MailDelivery, notification_key
from services.notification.mail.erasure import ErasedUsers
from services.notification.mail.retries import MailRetries
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.mail.server import Connector, MailServer
from services.notification.mail.session import Connections, Session
from services.notification.mail.unsent import UnsentMails
from sidecart.chassis.events import Received
from sidecart.chassis.store import Store


class Mailer:
    """Handles EmailRequested, and sends the mails of the retry queue.

    The first attempt is `MailDelivery` alone. A mail that the server has not accepted within its
    window enters the retry queue. The service acknowledges its event, and the SMTP session
    continues in the background. A mail with an unknown outcome waits for its due time, even if the
    event arrives again.
    """

    def __init__(
        self,
        server: MailServer,
        sender: str,
        store: Store,
        retry_queue: MailRetryQueue,
        now: Callable[[], datetime],
        window_seconds: float | None = WINDOW_SECONDS,
        new_session: Callable[[EmailRequested], Session] | None = None,
    ) -> None:
        self.connections = Connections(Connector(server))
        new_session = new_session or partial(Session, self.connections, sender)
        self.delivery = MailDelivery(new_session, sender, store, self, now, window_seconds)
        self.erased_users = ErasedUsers(store, retry_queue)
        self.unsent = UnsentMails(self.delivery, retry_queue, store, now, self.erased_users)
        self.background = BackgroundSessions(self.delivery, self.unsent, retry_queue, now)
        self.retries = MailRetries(self.delivery, self.unsent, self.background, retry_queue)
        self.handle = self.delivery.handle
        self._retry_queue = retry_queue

    async def settle_replay(self, body: bytes) -> None:
        """Close the dead letter of a replayed mail if the mail is sent, and not if it is queued."""
        received = self.delivery.decode(body)
        notification, _ = await self.delivery.load(notification_key(received.event.order_id))
        if notification.sent_at is not None:
            await self.unsent.dead_letters.settle(TOPIC, body)

    async def drops(self, received: Received[EmailRequested]) -> bool:
        """Return whether the mail must not be sent, because its user is erased; then end it."""
        return await self.erased_users.end_queued(received.event.order_id, received.event.user_id)

    async def end(self, received: Received[EmailRequested], body: bytes) -> None:
        """End the retry queue's entry of a sent mail, which may be in no index, and its replay.

        A process may have died after it recorded the mail as sent, and left the dead letter open.
        """
        await self._retry_queue.drop(received.event.order_id)
        await self.unsent.dead_letters.settle(TOPIC, body)

    async def takes(self, received: Received[EmailRequested], body: bytes, notification: Notification) -> bool:
        """Take a mail before its session begins; return False if this event must send it."""
        return await self.unsent.takes(received, body, notification)

    async def settle(self, attempt: DeliveryAttempt) -> None:
        """Record a result other than `sent`, or let the session continue in the background."""
        if attempt.task.done() and not attempt.is_detached:
            await self.unsent.finish(attempt)
        else:
            await self.background.keep(attempt)

    async def run(self) -> None:
        """Send the mails of the retry queue until cancelled, then wait for active sessions."""
        try:
            await self.retries.run()
        finally:
            await self.background.wait()
            self.close()

    def close(self) -> None:
        """Cancel all sessions and close all connections to the mail server."""
        self.background.cancel()
        for attempt in self.delivery.attempts.values():
            attempt.task.cancel()
        self.connections.close()
