"""SMTP sessions: each sends one mail over a connection of a pool.

The timeouts are those of RFC 5321. Until the client sends the final dot, the mail is certainly not
delivered. After the dot only the server's reply tells whether it is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import aiosmtplib

from services.notification.events import EmailRequested
from services.notification.mail.outcome import FAILURES, SENT, Result, failed
from services.notification.mail.server import CONNECTIONS_MAX, Connector, hello

# The timeouts of RFC 5321, section 4.5.3.2.
COMMAND_SECONDS_MAX = 300.0  # the reply to MAIL and RCPT
DATA_SECONDS_MAX = 120.0  # the reply to DATA
BLOCK_SECONDS_MAX = 180.0  # sending one block of the mail
DOT_SECONDS_MAX = 600.0  # the reply to the final dot
BLOCK_BYTES = 64 * 1024  # asyncio's transports buffer this much before they apply backpressure
OK, START_INPUT = 250, 354
LEADING_DOT = re.compile(rb"(?m)^\.")


class Connections:
    """A pool of connections to one mail server; each connection carries one mail at a time."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._idle: list[aiosmtplib.SMTP] = []

    def take(self) -> aiosmtplib.SMTP | None:
        """Return the most recently used idle connection, or None.

        This order lets surplus connections time out at the server.
        """
        while self._idle:
            smtp = self._idle.pop()
            if smtp.is_connected:
                return smtp
        return None

    def release(self, smtp: aiosmtplib.SMTP) -> None:
        """Return a connection to the pool; close it if it is broken or the pool is full."""
        if smtp.is_connected and len(self._idle) < CONNECTIONS_MAX:
            self._idle.append(smtp)
        else:
            smtp.close()

    def close(self) -> None:
        """Close all idle connections; a later mail opens a new one."""
        while self._idle:
            self._idle.pop().close()


class Session:
    """One attempt to send a mail; `result` raises only for a bug or a cancellation."""

    def __init__(self, connections: Connections, sender: str, mail: EmailRequested) -> None:
        self._connections = connections
        self._sender = sender
        self._to = mail.to
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
            await self._send()
        except FAILURES as error:
            return failed(error, is_answered=self.is_answered, dot_sent=self.dot_sent)
        return SENT

    async def _send(self) -> None:
        smtp = self._connections.take()
        if smtp is not None:
            try:
                await self._send_over(smtp)
            except aiosmtplib.SMTPServerDisconnected:
                if self.is_answered:
                    raise
                # The server had closed the idle connection: open a new one.
            else:
                return
        smtp = await self._connections.connector.open()
        self.is_answered = True
        await self._send_over(smtp)

    async def _send_over(self, smtp: aiosmtplib.SMTP) -> None:
        is_done = False
        try:
            await self._transmit(smtp)
            is_done = True
        finally:
            if is_done:
                self._connections.release(smtp)
            else:
                smtp.close()

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
