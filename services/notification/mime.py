"""The MIME message of a mail."""

from __future__ import annotations

import re
import secrets
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

from chassis.errors import PermanentError
from services.notification.events import EmailRequested

HEADER_CHARACTERS_MAX = 78  # a longer one is folded
LINE_CHARACTERS_MAX = 900  # a server may refuse a line of a thousand
UTF_8 = Charset("utf-8")
UTF_8.body_encoding = QP
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Lines(Compat32):
    """Lines as SMTP wants them; a header that fits in one is written as it is, without the work of folding it."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the header's lines."""
        line = f"{name}: {value}"
        if isinstance(value, str) and line.isascii() and line.isprintable() and len(line) <= HEADER_CHARACTERS_MAX:
            return f"{line}\r\n".encode()
        return super().fold_binary(name, value)


LINES = Lines(linesep="\r\n")


def mime_message(mail: EmailRequested, sender: str, at: datetime, traceparent: str = "") -> bytes:
    """Build the MIME message; a header that will not be built is a permanent error.

    With the policy that parses no header: the modern one takes three times as long, half of what a whole order costs
    this service. What it is used for here, that a header holds no second one, is checked by hand.
    """
    # With a boundary given, the parts are not searched for it: 128 random bits are in none of them.
    message = MIMEMultipart("alternative", secrets.token_hex(16), policy=LINES)
    try:
        to, from_ = str(Address(addr_spec=mail.to)), _from(sender)
    except (ValueError, IndexError) as error:  # what the parser of addresses raises
        raise PermanentError("a header of the mail is not valid", str(error)) from error
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
            raise PermanentError(f"a header of the mail is not valid: {name}")
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
