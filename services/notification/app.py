"""The Notification Service, wired."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec

from chassis import settings
from chassis.deliver import Service, Shell
from chassis.inbound import Subscription
from chassis.record import Record
from chassis.serve import INBOX, Read, Wired, now, run, service_app
from chassis.sidecar import HttpSidecar
from services.notification import domain
from services.notification.aside import Aside
from services.notification.events import INPUTS, Input
from services.notification.mail import Mailer
from services.notification.mail_server import MailServer

MAIL_UNKNOWN_SECONDS = (
    3600  # before a mail whose outcome is unknown is sent once more; then twice as long, up to eightfold
)
MAIL_RETRY_SECONDS = 60  # before a mail that was refused for now is tried again; then twice as long each time

SERVICE: Service[domain.Mailbox, Input] = Service(
    name="notification",
    inputs=INPUTS,
    state=domain.Mailbox,
    details={"order": domain.OrderNote, "notification": domain.Notification, "welcome": domain.Welcome},
    key=domain.key,
    begins=domain.begins,
    detail_key=domain.detail_key,
    step=domain.step,
    subject=domain.about,
)


class NotificationView(msgspec.Struct):
    """A mail as readers see it."""

    order_id: str
    kind: str
    subject: str
    sent_at: str | None = None


def wire(
    server: MailServer, sender: str, first_pause: timedelta, unknown_pause: timedelta, sidecar: HttpSidecar
) -> Wired:
    """Say what this service takes, what it answers, and what it does beside."""
    shell = Shell(SERVICE, sidecar, now)
    aside = Aside(sidecar, now, first_pause, unknown_pause)
    mailer = Mailer(server, sender, sidecar, aside, now)

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

    events = [Subscription(INBOX, topic, partial(shell.deliver, topic)) for topic in INPUTS]
    mails = Subscription("mailbus", "EmailRequested", mailer.handle)
    return Wired(
        [*events, mails],
        [Read("/notification/{user_id}", find_mailbox)],
        beside=lambda _dead_letters: mailer.carry(),
    )


def main() -> None:
    """Read the settings and serve."""
    config = settings.read()
    policy, ca_file = (os.environ.get(name, "") for name in ("MAIL_TLS", "MAIL_CA_FILE"))
    server = MailServer.from_url(settings.text(os.environ, "SMTP_URL"), policy, ca_file)
    sender = settings.text(os.environ, "MAIL_FROM", "shop@localhost")
    first = settings.whole(os.environ, "MAIL_RETRY_SECONDS", 1, 3600, MAIL_RETRY_SECONDS)
    unknown = settings.whole(os.environ, "MAIL_UNKNOWN_SECONDS", 1, 86_400, MAIL_UNKNOWN_SECONDS)
    pauses = timedelta(seconds=first), timedelta(seconds=unknown)
    run(service_app(SERVICE.name, config, partial(wire, server, sender, *pauses)), config)


if __name__ == "__main__":
    main()
