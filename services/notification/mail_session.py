"""One SMTP session: sends one mail with the timeouts of RFC 5321 and returns the result.

Until the client sends the final dot, the mail is certainly not delivered. After the dot only the
server's reply tells whether it is.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from services.notification.mail_server import Connections, TlsError, hello

log = logging.getLogger(__name__)

# The timeouts of RFC 5321, section 4.5.3.2.
COMMAND_SECONDS_MAX = 300.0  # the reply to MAIL and RCPT
DATA_SECONDS_MAX = 120.0  # the reply to DATA
BLOCK_SECONDS_MAX = 180.0  # sending one block of the mail
DOT_SECONDS_MAX = 600.0  # the reply to the final dot
BLOCK_BYTES = 64 * 1024  # asyncio's transports buffer this much before they apply backpressure
OK, SERVICE_CLOSING, START_INPUT = 250, 421, 354
LEADING_DOT = re.compile(rb"(?m)^\.")

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


class Session:
    """One attempt to send a mail; `result` raises only for a bug or a cancellation."""

    def __init__(self, connections: Connections, sender: str, to: str) -> None:
        self._connections = connections
        self._sender = sender
        self._to = to
        self._message = b""
        self.before_dot: Callable[[], Awaitable[None]] | None = None
        """Called before the final dot; raises Withdrawn if this process must not send the mail."""
        self.is_answered = False
        """True once the server accepted the connection, TLS and login, or this session's MAIL."""
        self.dot_sent = False

    async def result(self, message: bytes) -> Result:
        """Send the mail and return the result."""
        self._message = message
        try:
            return await self._send()
        except Withdrawn as withdrawn:
            return Result("withdrawn", f"a later attempt sends the mail: {withdrawn}")
        except TlsError as error:
            return Result("unreachable", str(error))
        except aiosmtplib.SMTPNotSupported as error:
            return Result("refused", "the mail server cannot take this address", str(error))
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            return self._from_reply(error)
        except (aiosmtplib.SMTPException, TimeoutError, OSError, ValueError) as error:
            return self._broken(f"{type(error).__name__} {error}")

    async def _send(self) -> Result:
        smtp = self._connections.take()
        if smtp is not None:
            try:
                return await self._send_over(smtp)
            except aiosmtplib.SMTPServerDisconnected:
                if self.is_answered:
                    raise
                # The server had closed the idle connection: open a new one.
        smtp = await self._connections.open()
        self.is_answered = True
        return await self._send_over(smtp)

    async def _send_over(self, smtp: aiosmtplib.SMTP) -> Result:
        is_done = False
        try:
            await self._transmit(smtp)
            is_done = True
        finally:
            if is_done:
                self._connections.release(smtp)
            else:
                smtp.close()
        return SENT

    async def _transmit(self, smtp: aiosmtplib.SMTP) -> None:
        if smtp.is_ehlo_or_helo_needed:
            await hello(smtp)
        body = LEADING_DOT.sub(b"..", self._message)
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        size = [f"size={len(self._message)}"] if smtp.supports_extension("size") else []
        await smtp.mail(self._sender, options=size, timeout=COMMAND_SECONDS_MAX)
        self.is_answered = True
        await smtp.rcpt(self._to, timeout=COMMAND_SECONDS_MAX)
        started = await smtp.execute_command(b"DATA", timeout=DATA_SECONDS_MAX)
        if started.code != START_INPUT:
            raise aiosmtplib.SMTPDataError(started.code, started.message)
        protocol = smtp.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        while len(body) > BLOCK_BYTES:
            protocol.write(body[:BLOCK_BYTES])
            body = body[BLOCK_BYTES:]
            async with asyncio.timeout(BLOCK_SECONDS_MAX):
                await protocol._drain_helper()  # aiosmtplib has no public method that waits
        if self.before_dot is not None:
            await self.before_dot()
        self.dot_sent = True
        protocol.write(body + b".\r\n")
        answer = await protocol.read_response(timeout=DOT_SECONDS_MAX)
        if answer.code != OK:
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)

    def _from_reply(self, error: Refused) -> Result:
        if any(code < 400 for code in _codes(error)):  # SMTP defines no such reply here
            return self._broken(f"unexpected reply {_codes_text(error)}")
        if not _is_about_the_mail(error):
            kind: Outcome = "broken" if self.is_answered else "unreachable"
            return Result(kind, f"the mail server refuses the session: {_codes_text(error)}")
        if all(code >= 500 for code in _codes(error)):
            return Result("refused", f"the mail server refuses the mail: {_codes_text(error)}", str(error))
        return Result("deferred", f"the mail server temporarily refuses the mail: {_codes_text(error)}", str(error))

    def _broken(self, cause: str) -> Result:
        if self.dot_sent:
            return Result("unknown", f"the mail server received the mail and did not confirm it: {cause}")
        return Result("broken" if self.is_answered else "unreachable", f"the mail server is unreachable: {cause}")


Refused = aiosmtplib.SMTPRecipientsRefused | aiosmtplib.SMTPResponseException


def _codes(error: Refused) -> list[int]:
    return (
        [each.code for each in error.recipients]
        if isinstance(error, aiosmtplib.SMTPRecipientsRefused)
        else [error.code]
    )


def _codes_text(error: Refused) -> str:
    """Return the reply codes without the reply texts, which may quote the recipient."""
    return ", ".join(str(code) for code in _codes(error))


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
