"""One mail on its way over one connection, with the time-outs that RFC 5321 gives each phase, and how that ended.

Before the final dot is sent the mail is certainly not delivered; after it only the server's answer tells.
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

# RFC 5321, section 4.5.3.2.
COMMAND_SECONDS_MAX = 300.0  # MAIL, RCPT
DATA_SECONDS_MAX = 120.0  # the answer to DATA
BLOCK_SECONDS_MAX = 180.0  # until the network has taken a block of the mail
DOT_SECONDS_MAX = 600.0  # the answer to the final dot
BLOCK_BYTES = 64 * 1024  # a transport takes as much before it waits for the network
OK, SERVICE_CLOSING, START_INPUT = 250, 421, 354
LEADING_DOT = re.compile(rb"(?m)^\.")

Outcome = Literal["sent", "deferred", "refused", "unreachable", "broken", "unknown", "withdrawn"]
"""What became of the mail; `unreachable`: nothing was said of it, `broken`: the server was there and went, before
the dot.
"""


@dataclass(frozen=True, slots=True)
class Result:
    """How a try to send ended; `what` may be logged, `words` may quote the recipient."""

    outcome: Outcome
    what: str = ""
    words: str = ""

    @property
    def reason(self) -> str:
        """Both, for a dead letter."""
        return f"{self.what}: {self.words}" if self.words else self.what


SENT = Result("sent")


class Withdrawn(Exception):
    """The mail may not be sent now: another process has taken it over, or that cannot be told."""


class Session:
    """One try; `result` never raises but for a bug, or when it is cancelled."""

    def __init__(self, connections: Connections, sender: str, to: str) -> None:
        self._connections = connections
        self._sender = sender
        self._to = to
        self._message = b""
        self.before_dot: Callable[[], Awaitable[None]] | None = None
        """What has to be done before the outcome can be unknown; raises Withdrawn if the mail may not be sent."""
        self.is_answered = False
        """Whether the server was reached: it greeted, and took what it was told before the mail."""
        self.dot_sent = False

    async def result(self, message: bytes) -> Result:
        """Send the mail and say how it ended."""
        self._message = message
        try:
            return await self._over_any()
        except Withdrawn as withdrawn:
            return Result("withdrawn", f"the mail is left to another try: {withdrawn}")
        except TlsError as error:
            return Result("unreachable", str(error))
        except aiosmtplib.SMTPNotSupported as error:
            return Result("refused", "the mail server cannot take this address", str(error))
        except (aiosmtplib.SMTPRecipientsRefused, aiosmtplib.SMTPResponseException) as error:
            return self._of_answer(error)
        except (aiosmtplib.SMTPException, TimeoutError, OSError, ValueError) as error:
            return self._broken(f"{type(error).__name__} {error}")

    async def _over_any(self) -> Result:
        smtp = self._connections.take()
        if smtp is not None:
            try:
                return await self._over(smtp)
            except aiosmtplib.SMTPServerDisconnected:
                if self.is_answered:
                    raise
                # The server had closed the idle connection.
        smtp = await self._connections.open()
        self.is_answered = True
        return await self._over(smtp)

    async def _over(self, smtp: aiosmtplib.SMTP) -> Result:
        is_done = False
        try:
            await self._give(smtp)
            is_done = True
        finally:
            if is_done:
                self._connections.give_back(smtp)
            else:
                smtp.close()
        return SENT

    async def _give(self, smtp: aiosmtplib.SMTP) -> None:
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
                await protocol._drain_helper()  # the library has no public way to wait for the network
        if self.before_dot is not None:
            await self.before_dot()
        self.dot_sent = True
        protocol.write(body + b".\r\n")
        answer = await protocol.read_response(timeout=DOT_SECONDS_MAX)
        if answer.code != OK:
            raise aiosmtplib.SMTPDataError(answer.code, answer.message)

    def _of_answer(self, error: Refused) -> Result:
        if any(code < 400 for code in _codes(error)):  # no answer that SMTP knows here
            return self._broken(f"an answer that makes no sense: {_said(error)}")
        if not _is_about_the_mail(error):
            kind: Outcome = "broken" if self.is_answered else "unreachable"
            return Result(kind, f"the mail server refuses us for now: {_said(error)}")
        if all(code >= 500 for code in _codes(error)):
            return Result("refused", f"the mail server refuses the mail: {_said(error)}", str(error))
        return Result("deferred", f"the mail server refuses the mail for now: {_said(error)}", str(error))

    def _broken(self, what: str) -> Result:
        if self.dot_sent:
            return Result("unknown", f"the mail server has the mail and did not say that it took it: {what}")
        return Result("broken" if self.is_answered else "unreachable", f"the mail server is unreachable: {what}")


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
