"""Builds the MIME message of a mail."""

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

from services.notification.events import EmailRequested
from sidecart.chassis.errors import PermanentError

HEADER_CHARACTERS_MAX = 78  # longer header lines are folded
LINE_CHARACTERS_MAX = 900  # a server may refuse lines of 1,000 characters
UTF_8 = Charset("utf-8")
UTF_8.body_encoding = QP
CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Lines(Compat32):
    """A policy that writes CRLF lines and skips the folding of a header that fits in one line."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the header as one or more CRLF lines."""
        line = f"{name}: {value}"
        if isinstance(value, str) and line.isascii() and line.isprintable() and len(line) <= HEADER_CHARACTERS_MAX:
            return f"{line}\r\n".encode()
        return super().fold_binary(name, value)


LINES = Lines(linesep="\r\n")


def mime_message(mail: EmailRequested, sender: str, at: datetime, traceparent: str = "") -> bytes:
    """Return the MIME message; raise PermanentError if a header is not valid.

    The Compat32 policy parses no headers. The modern policy takes three times as long: half of the
    time that this service spends on a whole order. The modern policy would also prevent header
    injection; here the loop over the headers checks that each one is a single header.
    """
    # The explicit boundary of 128 random bits saves a search of the parts for a free boundary.
    message = MIMEMultipart("alternative", secrets.token_hex(16), policy=LINES)
    try:
        to, from_ = str(Address(addr_spec=mail.to)), _from(sender)
    except (ValueError, IndexError) as error:  # the errors of the standard library's address parser
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
    """Return a text part: 7-bit if it is ASCII with short lines, else quoted-printable."""
    if not text.isascii() or any(len(line) > LINE_CHARACTERS_MAX for line in text.splitlines()):
        return MIMEText(text, kind, cast(Any, UTF_8), policy=LINES)  # the stub allows only str here
    part = Message(LINES)
    part["Content-Type"] = f'text/{kind}; charset="us-ascii"'
    part["Content-Transfer-Encoding"] = "7bit"
    part.set_payload(text)
    return part
