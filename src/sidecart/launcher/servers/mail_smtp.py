"""The mail catcher's SMTP side: accepts every mail, or answers as configured."""

import asyncio
import sys

from aiosmtpd.smtp import SMTP, Envelope, Session

from sidecart.launcher.servers.mailbox import Mailbox


class SmtpSide:
    """The handler that aiosmtpd calls for each mail."""

    def __init__(
        self,
        mailbox: Mailbox,
        to_recipient: str = "250 OK",
        pause_seconds: float = 0.0,
        late_seconds: float = 0.0,
    ) -> None:
        self._mailbox = mailbox
        self._to_recipient = to_recipient
        self._pause_seconds = pause_seconds
        self._late_seconds = late_seconds
        self.recipients = 0
        """The number of recipients so far, accepted or not."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a recipient, or return the configured response."""
        self.recipients += 1
        await asyncio.sleep(self._pause_seconds)
        envelope.rcpt_tos.append(address)
        return self._to_recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Store the mail, and confirm it after the configured delay."""
        mail = self._mailbox.add(envelope)
        # Neither recipient nor subject: logs are stored and shared, and both may name a person.
        print(f"mail {mail.id}: {len(mail.content)} bytes", file=sys.stderr, flush=True)
        await asyncio.sleep(self._late_seconds)
        return "250 2.0.0 accepted"
