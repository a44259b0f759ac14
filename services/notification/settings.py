"""The settings of the Notification Service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from services.notification.mail.server import MailServer
from services.notification.pacing import PER_HOUR, PER_HOUR_MAX
from sidecart.chassis import currency, settings

# The delays before the first retry. Each later delay is twice as long.
MAIL_RETRY_SECONDS = 60  # after a temporary refusal (4xx)
MAIL_UNKNOWN_SECONDS = 3600  # after an unknown outcome; the delay grows up to eightfold


@dataclass(frozen=True, slots=True)
class Settings:
    """The mail server, the sender address, the first retry delays, and the currency of the mails.

    `first_pause` follows a temporary refusal, `unknown_pause` an unknown outcome. A user gets
    `mails_per_hour` mails in an hour; 0 is no limit.
    """

    server: MailServer
    sender: str
    first_pause: timedelta
    unknown_pause: timedelta
    currency: currency.Currency
    mails_per_hour: int = PER_HOUR


def read(environ: Mapping[str, str]) -> Settings:
    """Return the settings, or raise SettingError.

    The launcher calls this too, before it starts any process, and passes on the variables it reads.
    """
    return Settings(
        server=MailServer.from_url(
            settings.text(environ, "SMTP_URL"), environ.get("MAIL_TLS", ""), environ.get("MAIL_CA_FILE", "")
        ),
        sender=settings.text(environ, "MAIL_FROM", "shop@localhost"),
        first_pause=timedelta(seconds=settings.whole(environ, "MAIL_RETRY_SECONDS", 1, 3600, MAIL_RETRY_SECONDS)),
        unknown_pause=timedelta(
            seconds=settings.whole(environ, "MAIL_UNKNOWN_SECONDS", 1, 86_400, MAIL_UNKNOWN_SECONDS)
        ),
        currency=currency.read(environ),
        mails_per_hour=settings.whole(environ, "MAILS_PER_HOUR", 0, PER_HOUR_MAX, PER_HOUR),
    )
