"""The wiring of the Notification Service."""

import os
from collections.abc import Mapping
from functools import partial

import msgspec

from services.notification import domain, events, flows, settings
from services.notification.mail import Mailer
from services.notification.mail_retry_queue import MailRetryQueue
from sidecart.chassis import settings as common
from sidecart.chassis.record import Record
from sidecart.chassis.server.inbound import Subscription
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, now, run, service_app, unfinished
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import HttpSidecar

SERVICE = Service.of(domain, events)


class NotificationView(msgspec.Struct):
    """One mail in the body of `GET /notification/{user_id}`."""

    order_id: str
    kind: str
    subject: str
    sent_at: str | None = None


def wire(mail_settings: settings.Settings, sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions, reads and background task of this service."""
    retry_queue = MailRetryQueue(sidecar, now, mail_settings.first_pause, mail_settings.unknown_pause)
    mailer = Mailer(mail_settings.server, mail_settings.sender, sidecar, retry_queue, now)

    async def find_mailbox(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"mailbox:{params['user_id']}")
        if value is None:
            return None
        mailbox = msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=domain.Mailbox | None)
        if mailbox is None:
            return None
        found = await sidecar.load_many([f"notification:{order_id}" for order_id in mailbox.recent])
        notifications = [msgspec.json.decode(each, type=NotificationView) for each in found if each is not None]
        return msgspec.json.encode({"user_id": mailbox.user_id, "notifications": notifications})

    async def find_unfinished_users(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, await flows.users_ended(sidecar, ids))

    async def find_unfinished_orders(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, await flows.orders_ended(sidecar, ids))

    mails = Subscription("mailbus", "EmailRequested", mailer.handle)
    return ServiceWiring(
        [*inbox(SERVICE, sidecar), mails],
        [
            Read("/notification/{user_id}", find_mailbox),
            Read("/unfinished/user/{ids}", find_unfinished_users),
            Read("/unfinished/order/{ids}", find_unfinished_orders),
        ],
        background_tasks=lambda _dead_letters: mailer.run(),
    )


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = common.read()
    run(service_app(SERVICE.name, config, partial(wire, settings.read(os.environ))), config)


if __name__ == "__main__":
    main()
