"""The wiring of the Notification Service."""

import os
from collections.abc import Mapping, Sequence
from functools import partial

import msgspec

from services.notification import domain, events, flows, settings
from services.notification.mail.mailer import Mailer
from services.notification.mail.retry_queue import MailRetryQueue
from services.notification.pacing import PER_HOUR
from sidecart.chassis import settings as common
from sidecart.chassis.currency import DEFAULT, Currency
from sidecart.chassis.events import now
from sidecart.chassis.record import Record
from sidecart.chassis.server.inbound import Subscription
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app, unfinished
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import Sidecar


def service(currency: Currency, mails_per_hour: int = PER_HOUR) -> Service[domain.Mailbox, events.Input]:
    """Describe the service to the event processor."""
    return Service.of(domain, events, currency=currency, mails_per_hour=mails_per_hour)


SERVICE = service(DEFAULT)
"""The service with the default settings, for the examples of its events."""

ITEMS_BYTES_MAX = 256 * 2**10  # of all items in one list, as JSON; the entries after that show the amount only


class NotificationView(msgspec.Struct):
    """One mail in the body of `GET /notification/{user_id}`.

    `not_before` is there if the mail waits for its hour (MAILS_PER_HOUR).

    `amount_cents` and `items` come from the order's note. OrderPaid can overtake OrderCreated; the
    entry lacks both until then.
    """

    order_id: str
    kind: str
    subject: str
    sent_at: str | None = None
    not_before: str | msgspec.UnsetType | None = msgspec.UNSET
    amount_cents: int | msgspec.UnsetType = msgspec.UNSET
    items: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Note(msgspec.Struct):
    amount_cents: int
    items: msgspec.Raw


def wire(mail_settings: settings.Settings, sidecar: Sidecar) -> ServiceWiring:
    """Return the subscriptions, reads and background task of this service."""
    retry_queue = MailRetryQueue(sidecar, now, mail_settings.first_pause, mail_settings.unknown_pause)
    mailer = Mailer(mail_settings.server, mail_settings.sender, sidecar, retry_queue, now)

    declared = service(mail_settings.currency, mail_settings.mails_per_hour)
    mails = Subscription("mailbus", "EmailRequested", mailer.handle, settle=mailer.settle_replay)
    return ServiceWiring(
        [*inbox(declared, sidecar, mailer.erased_users.erase), mails],
        [*_mailboxes(sidecar), *_unfinished(sidecar)],
        background_tasks=lambda _dead_letters: mailer.run(),
    )


def _mailboxes(sidecar: Sidecar) -> list[Read]:
    async def find_mailbox(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"mailbox:{params['user_id']}")
        if value is None:
            return None
        mailbox = msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=domain.Mailbox | None)
        if mailbox is None:
            return None
        keys = [f"{kind}:{order_id}" for kind in ("notification", "order") for order_id in mailbox.recent]
        found = await sidecar.load_many(keys)
        listed = _listed(found[: len(mailbox.recent)], found[len(mailbox.recent) :])
        return msgspec.json.encode({"user_id": mailbox.user_id, "notifications": listed})

    async def export(params: Mapping[str, str]) -> bytes | None:
        return await find_mailbox({"user_id": params["id"]})

    return [Read("/notification/{user_id}", find_mailbox), Read("/export/user/{id}", export)]


def _unfinished(sidecar: Sidecar) -> list[Read]:
    async def find_unfinished_users(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, await flows.users_ended(sidecar, ids))

    async def find_unfinished_erasures(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, await flows.erasures_ended(sidecar, ids))

    async def find_unfinished_orders(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, await flows.orders_ended(sidecar, ids))

    return [
        Read("/unfinished/user/{ids}", find_unfinished_users),
        Read("/unfinished/order/{ids}", find_unfinished_orders),
        Read("/unfinished/erasure/{ids}", find_unfinished_erasures),
    ]


def _listed(notifications: Sequence[bytes | None], notes: Sequence[bytes | None]) -> list[NotificationView]:
    """Return the notifications that exist, each with the data of its order's note."""
    listed, left = [], ITEMS_BYTES_MAX
    for notification, note in zip(notifications, notes, strict=True):
        if notification is None:
            continue
        view = msgspec.json.decode(notification, type=NotificationView)
        if view.not_before is None:
            view.not_before = msgspec.UNSET
        if note is not None:
            order = msgspec.json.decode(note, type=_Note)
            view.amount_cents = order.amount_cents
            left -= len(bytes(order.items))
            if left >= 0:
                view.items = order.items
        listed.append(view)
    return listed


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = common.read()
    run(service_app(SERVICE.name, config, partial(wire, settings.read(os.environ))), config)


if __name__ == "__main__":
    main()
