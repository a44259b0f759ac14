"""Sending mail by SMTP: at least once, each with a Message-ID that repeats, over one reused connection.

A mail server that is away, slow or busy is the world's fault (the broker's redelivery is the mail queue); one that
refuses the mail for good makes a dead letter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib
import msgspec

from chassis.deliver import ATTEMPTS_MAX, Sidecar
from chassis.errors import Conflict, EventFault, WorldFault
from chassis.events import decode, parse, timestamp
from chassis.settings import SettingError
from chassis.turns import Turns
from services.notification.domain import Notification
from services.notification.events import EmailRequested

SMTP_SECONDS_MAX = 5.0  # one command of the mail server


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where to send mail, from SMTP_URL: smtp://[user:password@]host[:port], smtps:// for TLS from the start."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None

    @classmethod
    def from_url(cls, url: str) -> MailServer:
        """Read the setting; raise SettingError when it is not such a URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingError("SMTP_URL", str(error)) from error
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingError("SMTP_URL", "is not smtp://host:port or smtps://host:port")
        tls = parts.scheme == "smtps"
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        return cls(parts.hostname, port or (465 if tls else 25), tls, username, password)


class Mailer:
    """Takes EmailRequested: sends the mail unless its notification says that it was sent, then says so there."""

    def __init__(self, server: MailServer, sender: str, sidecar: Sidecar, now: Callable[[], datetime]) -> None:
        self._sender = sender
        self._sidecar = sidecar
        self._now = now
        self._turns = Turns()  # a repeated event waits for the first one's sent_at
        self._connection = asyncio.Lock()  # one connection, one mail at a time
        self._smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            username=server.username,
            password=server.password,
            timeout=SMTP_SECONDS_MAX,
        )

    async def handle(self, body: bytes) -> None:
        """Carry one EmailRequested through; raise EventFault or WorldFault."""
        received = decode(parse("EmailRequested", body), EmailRequested, self._now())
        mail = received.event
        key = f"notification:{mail.order_id}"
        async with self._turns.alone(key):
            if (await self._load(key))[0].sent_at is not None:
                return
            async with self._connection:
                await self._send(mail, received.at)
            await self._note_sent(key)

    async def _load(self, key: str) -> tuple[Notification, str | None]:
        value, etag = await self._sidecar.load(key)
        if value is None:
            raise EventFault(f"there is no {key}: nobody asked for this mail")
        return msgspec.json.decode(value, type=Notification), etag

    async def _note_sent(self, key: str) -> None:
        sent_at = timestamp(self._now())
        for _ in range(ATTEMPTS_MAX):
            notification, etag = await self._load(key)
            if notification.sent_at is not None:
                return
            try:
                await self._sidecar.save(key, msgspec.json.encode(replace(notification, sent_at=sent_at)), etag)
            except Conflict:
                continue
            return
        raise WorldFault(f"{key}: lost {ATTEMPTS_MAX} races in a row")

    async def _send(self, mail: EmailRequested, at: datetime) -> None:
        message = _message(mail, self._sender, at)
        try:
            if not self._smtp.is_connected:
                await self._smtp.connect()
            await self._smtp.send_message(message, sender=self._sender, recipients=[mail.to])
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            self._smtp.close()
            if _is_final(error):
                raise EventFault(f"the mail server refuses the mail: {error}") from error
            raise WorldFault(f"the mail server refuses for now: {error}") from error
        except aiosmtplib.SMTPNotSupported as error:
            raise EventFault(f"the mail server cannot take this address: {error}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            self._smtp.close()
            raise WorldFault(f"the mail server is away: {error}") from error


def _is_final(error: aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPResponseException) -> bool:
    """Whether a code of 5xx was said of this mail, and not of our connection or credentials."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return all(refused.code >= 500 for refused in error.recipients)
    about_the_mail = aiosmtplib.SMTPDataError | aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPRecipientRefused
    return isinstance(error, about_the_mail) and error.code >= 500


def _message(mail: EmailRequested, sender: str, at: datetime) -> EmailMessage:
    """Build the MIME message; a header that will not be built is the event's fault."""
    message = EmailMessage(policy=SMTP_POLICY)
    try:
        message["From"] = Address("The shop", addr_spec=sender)
        message["To"] = Address(addr_spec=mail.to)
        message["Subject"] = mail.subject
        message["Message-ID"] = mail.message_id
        message["Date"] = format_datetime(at)
    except (ValueError, IndexError) as error:  # what the parser of addresses raises
        raise EventFault(f"a header of the mail is not valid: {error}") from error
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message
