"""The settings that only this service has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chassis import settings
from services.notification.mail_server import MailServer

MAIL_RETRY_SECONDS = 60  # before a mail that was refused for now is tried again; then twice as long each time
MAIL_UNKNOWN_SECONDS = 3600  # before a mail whose outcome is unknown is sent again; then twice as long, up to eightfold


@dataclass(frozen=True, slots=True)
class Settings:
    """Where mails go, whom they are from, and when one that was refused for now or may have arrived is tried again."""

    server: MailServer
    sender: str
    first_pause: timedelta
    unknown_pause: timedelta


def read(environ: Mapping[str, str]) -> Settings:
    """Read them; the launcher does so too, before it starts anything, and hands on what is read here."""
    return Settings(
        server=MailServer.from_url(
            settings.text(environ, "SMTP_URL"), environ.get("MAIL_TLS", ""), environ.get("MAIL_CA_FILE", "")
        ),
        sender=settings.text(environ, "MAIL_FROM", "shop@localhost"),
        first_pause=timedelta(seconds=settings.whole(environ, "MAIL_RETRY_SECONDS", 1, 3600, MAIL_RETRY_SECONDS)),
        unknown_pause=timedelta(
            seconds=settings.whole(environ, "MAIL_UNKNOWN_SECONDS", 1, 86_400, MAIL_UNKNOWN_SECONDS)
        ),
    )
