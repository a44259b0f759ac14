"""The outcome of an attempt to send a mail, from the server's replies and the errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from services.notification.mail.server import TlsError

SERVICE_CLOSING = 421

Outcome = Literal["sent", "deferred", "refused", "unreachable", "broken", "unknown", "withdrawn"]
"""The outcome of an attempt to send a mail.

sent: the server accepted the mail.
deferred: the server refused the mail temporarily (4xx).
refused: the server refused the mail permanently (5xx), or the mail has an invalid header.
unreachable: the server did not accept the connection, TLS or login.
broken: the server greeted, then the session failed before the final dot.
unknown: the server got the final dot and did not confirm the mail.
withdrawn: this process must not send the mail now, or it stopped the session before the dot.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one attempt.

    `summary` is safe to log. `detail` may quote the recipient's address.
    """

    outcome: Outcome
    summary: str = ""
    detail: str = ""

    @property
    def reason(self) -> str:
        """The summary and the detail, for a dead letter."""
        return f"{self.summary}: {self.detail}" if self.detail else self.summary


SENT = Result("sent")


class Withdrawn(Exception):
    """This process must not send the mail: another one claimed it, or the store is unreachable."""


Refused = aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPResponseException
FAILURES = (Withdrawn, TlsError, aiosmtplib.SMTPException, TimeoutError, OSError, ValueError)
"""The errors that end a session; any other error is a bug."""


def failed(error: Exception, *, is_answered: bool, dot_sent: bool) -> Result:
    """Return the result of a session that one of FAILURES ended.

    `is_answered`: the server had accepted the connection, or MAIL. `dot_sent`: the server may have
    the whole mail.
    """
    match error:
        case Withdrawn():
            return Result("withdrawn", f"a later attempt sends the mail: {error}")
        case TlsError():
            return Result("unreachable", str(error))
        case aiosmtplib.SMTPNotSupported():
            return Result("refused", "the mail server cannot take this address", str(error))
        case aiosmtplib.SMTPRecipientsRefused() | aiosmtplib.SMTPResponseException():
            codes = _codes(error)
            if any(code < 400 for code in codes):  # SMTP defines no such reply here
                return _broken(f"unexpected reply {_text(codes)}", is_answered, dot_sent)
            if not _is_about_the_mail(error):
                kind: Outcome = "broken" if is_answered else "unreachable"
                return Result(kind, f"the mail server refuses the session: {_text(codes)}")
            if all(code >= 500 for code in codes):
                return Result("refused", f"the mail server refuses the mail: {_text(codes)}", str(error))
            return Result("deferred", f"the mail server temporarily refuses the mail: {_text(codes)}", str(error))
        case _:
            return _broken(f"{type(error).__name__} {error}", is_answered, dot_sent)


def _broken(cause: str, is_answered: bool, dot_sent: bool) -> Result:
    if dot_sent:
        return Result("unknown", f"the mail server received the mail and did not confirm it: {cause}")
    return Result("broken" if is_answered else "unreachable", f"the mail server is unreachable: {cause}")


def _codes(error: Refused) -> list[int]:
    return (
        [each.code for each in error.recipients]
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused)
        else [error.code]
    )


def _text(codes: list[int]) -> str:
    """Return the reply codes without the reply texts, which may quote the recipient."""
    return ", ".join(str(code) for code in codes)


def _is_about_the_mail(error: Refused) -> bool:
    """Return whether the reply concerns this mail, not the connection or the credentials.

    Reply 421 closes the connection, whatever command it answers.
    """
    about_the_mail = (
        aiosmtplib.SMTPRecipientsRefused
        | aiosmtplib.SMTPDataError
        | aiosmtplib.SMTPSenderRefused
        | aiosmtplib.SMTPRecipientRefused
    )
    return isinstance(error, about_the_mail) and SERVICE_CLOSING not in _codes(error)
