"""Sending mail by SMTP: at least once, each with a Message-ID that repeats, over a few reused connections.

A mail server that is away or slow is the world's fault (the broker's redelivery is the mail queue); a mail that it
refuses for now is put aside (aside.py), one that it refuses for good is a dead letter.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from email.charset import QP, Charset
from email.generator import BytesGenerator
from email.header import Header
from email.headerregistry import Address
from email.message import Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import Compat32
from email.utils import format_datetime
from functools import cache
from io import BytesIO
from typing import Any, cast

import aiosmtplib
import msgspec
from prometheus_client import Counter

from chassis import tracing
from chassis.deliver import ATTEMPTS_MAX, Sidecar
from chassis.errors import Conflict, EventFault, WorldFault
from chassis.events import Received, decode, parse, timestamp
from chassis.turns import Turns
from services.notification.aside import Aside, RefusedForNow
from services.notification.domain import Notification
from services.notification.events import EmailRequested
from services.notification.mail_server import Connections, MailServer

log = logging.getLogger(__name__)

MAIL_SECONDS_MAX = 15.0  # one mail with all its commands; below the time after which the broker hands it out again
UNNOTED_MAX = 10_000  # mails that were taken and could not be noted; one that is forgotten is sent once more
SERVICE_CLOSING = 421
HEADER_CHARACTERS_MAX = 78  # a longer one is folded
LINE_CHARACTERS_MAX = 900  # a server may refuse a line of a thousand
UTF_8 = Charset("utf-8")
UTF_8.body_encoding = QP
CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_MAILS = Counter("sidecart_mails", "Mails that the mail server was given, by what it said.", ("outcome",))
MAILS = {outcome: _MAILS.labels(outcome) for outcome in ("sent", "put_off", "refused", "away")}


class Lines(Compat32):
    """Lines as SMTP wants them; a header that fits in one is written as it is, without the work of folding it."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the header's lines."""
        line = f"{name}: {value}"
        if isinstance(value, str) and line.isascii() and line.isprintable() and len(line) <= HEADER_CHARACTERS_MAX:
            return f"{line}\r\n".encode()
        return super().fold_binary(name, value)


LINES = Lines(linesep="\r\n")


class Mailer:
    """Takes EmailRequested: sends the mail unless its notification says that it was sent, then says so there."""

    def __init__(
        self, server: MailServer, sender: str, sidecar: Sidecar, aside: Aside, now: Callable[[], datetime]
    ) -> None:
        self._sender = sender
        self._sidecar = sidecar
        self._aside = aside
        self._now = now
        self._turns = Turns()  # a repeated event waits for the first one's sent_at
        self._connections = Connections(server)
        self._unnoted: OrderedDict[str, str] = OrderedDict()
        """When the mail server took the mail of a notification whose record does not say so yet."""

    def close(self) -> None:
        """Leave no connection to the mail server."""
        self._connections.close()

    async def handle(self, body: bytes) -> None:
        """Carry one EmailRequested through, or put it aside; raise EventFault or WorldFault."""
        received = self._decode(body)
        try:
            await self._send_once(received.event, received.at)
        except RefusedForNow as refusal:
            log.info("%s is put aside: %s", received.event.order_id, refusal)
            await self._aside.put(received.event.order_id, body)

    async def send(self, body: bytes) -> None:
        """Send the mail of one EmailRequested, if it was not sent; raise RefusedForNow, EventFault or WorldFault."""
        received = self._decode(body)
        await self._send_once(received.event, received.at)

    def _decode(self, body: bytes) -> Received[EmailRequested]:
        return decode(parse("EmailRequested", body), EmailRequested, self._now())

    async def _send_once(self, mail: EmailRequested, at: datetime) -> None:
        key = f"notification:{mail.order_id}"
        # The connection comes first: while we wait for one, another replica may have sent the mail.
        async with self._turns.alone(key), self._connections.one() as smtp:
            notification, etag = await self._load(key)
            if notification.sent_at is None:
                sent_at = self._unnoted.get(key)  # there if the store did not answer after it was sent
                if sent_at is None:
                    await self._send(smtp, mail, at)
                    sent_at = self._remember_sent(key)
                await self._note_sent(key, notification, etag, sent_at)
            self._unnoted.pop(key, None)

    def _remember_sent(self, key: str) -> str:
        self._unnoted[key] = sent_at = timestamp(self._now())
        if len(self._unnoted) > UNNOTED_MAX:
            self._unnoted.popitem(last=False)
        return sent_at

    async def _load(self, key: str) -> tuple[Notification, str | None]:
        value, etag = await self._sidecar.load(key)
        if value is None:
            raise EventFault(f"there is no {key}: nobody asked for this mail")
        return msgspec.json.decode(value, type=Notification), etag

    async def _note_sent(self, key: str, notification: Notification, etag: str | None, sent_at: str) -> None:
        for _ in range(ATTEMPTS_MAX):
            try:
                await self._sidecar.save(key, msgspec.json.encode(replace(notification, sent_at=sent_at)), etag)
            except Conflict:
                notification, etag = await self._load(key)
                if notification.sent_at is not None:
                    return
            else:
                return
        raise WorldFault(f"{key}: lost {ATTEMPTS_MAX} races in a row")

    async def _send(self, smtp: aiosmtplib.SMTP, mail: EmailRequested, at: datetime) -> None:
        if tracing.spans is None:
            await self._give(smtp, mail, at)
        else:
            with tracing.spans.call("send mail") as traceparent:
                await self._give(smtp, mail, at, traceparent)

    async def _give(self, smtp: aiosmtplib.SMTP, mail: EmailRequested, at: datetime, traceparent: str = "") -> None:
        message = _message(mail, self._sender, at, traceparent)
        try:
            async with asyncio.timeout(MAIL_SECONDS_MAX):
                if not smtp.is_connected:
                    await smtp.connect()
                await smtp.sendmail(self._sender, [mail.to], message)
            MAILS["sent"].inc()
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            smtp.close()
            if not _is_about_the_mail(error):
                MAILS["away"].inc()
                raise WorldFault(f"the mail server refuses us for now: {_said(error)}") from error
            MAILS["refused" if _is_final(error) else "put_off"].inc()
            if _is_final(error):
                raise EventFault(f"the mail server refuses the mail: {_said(error)}", str(error)) from error
            raise RefusedForNow(f"the mail server refuses the mail for now: {_said(error)}", str(error)) from error
        except aiosmtplib.SMTPNotSupported as error:
            MAILS["refused"].inc()
            raise EventFault("the mail server cannot take this address", str(error)) from error
        except (aiosmtplib.SMTPException, TimeoutError, OSError) as error:
            smtp.close()
            MAILS["away"].inc()
            raise WorldFault(f"the mail server is away: {type(error).__name__} {error}") from error


Refused = aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPResponseException


def _codes(error: Refused) -> list[int]:
    return (
        [each.code for each in error.recipients]
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused)
        else [error.code]
    )


def _said(error: Refused) -> str:
    """The codes, without the words: those quote the recipient."""
    return ", ".join(str(code) for code in _codes(error))


def _is_about_the_mail(error: Refused) -> bool:
    """Whether the answer was to this mail, and not to our connection or credentials; 421 closes the connection."""
    about_the_mail = (
        aiosmtplib.SMTPRecipientsRefused
        | aiosmtplib.SMTPDataError
        | aiosmtplib.SMTPSenderRefused
        | aiosmtplib.SMTPRecipientRefused
    )
    return isinstance(error, about_the_mail) and SERVICE_CLOSING not in _codes(error)


def _is_final(error: Refused) -> bool:
    """Whether it was a code of 5xx."""
    return all(code >= 500 for code in _codes(error))


def _message(mail: EmailRequested, sender: str, at: datetime, traceparent: str = "") -> bytes:
    """Build the MIME message; a header that will not be built is the event's fault.

    With the policy that parses no header: the modern one takes three times as long, half of what a whole order costs
    this service. What it is used for here, that a header holds no second one, is checked by hand.
    """
    # With a boundary given, the parts are not searched for it: 128 random bits are in none of them.
    message = MIMEMultipart("alternative", secrets.token_hex(16), policy=LINES)
    try:
        to, from_ = str(Address(addr_spec=mail.to)), _from(sender)
    except (ValueError, IndexError) as error:  # what the parser of addresses raises
        raise EventFault("a header of the mail is not valid", str(error)) from error
    headers = {
        "From": from_,
        "To": to,
        "Subject": mail.subject if mail.subject.isascii() else Header(mail.subject, "utf-8").encode(),
        "Message-ID": mail.message_id,
        "Date": format_datetime(at),
        "Auto-Submitted": "auto-generated",
        **({"traceparent": traceparent} if traceparent else {}),
    }
    for name, value in headers.items():
        if not value.isascii() or CONTROL.search(value.replace("\n ", " ")):
            raise EventFault(f"a header of the mail is not valid: {name}")
        message[name] = value
    message.attach(_part(mail.text, "plain"))
    message.attach(_part(mail.html, "html"))
    written = BytesIO()
    BytesGenerator(written, mangle_from_=False, policy=LINES).flatten(message)
    return written.getvalue()


@cache
def _from(sender: str) -> str:
    return str(Address("The shop", addr_spec=sender))


def _part(text: str, kind: str) -> Message:
    """As it is if every mail server takes it so, else quoted-printable."""
    if not text.isascii() or any(len(line) > LINE_CHARACTERS_MAX for line in text.splitlines()):
        return MIMEText(text, kind, cast(Any, UTF_8), policy=LINES)  # the stub knows only names of charsets
    part = Message(LINES)
    part["Content-Type"] = f'text/{kind}; charset="us-ascii"'
    part["Content-Transfer-Encoding"] = "7bit"
    part.set_payload(text)
    return part
