"""The mail server: where it is, and a few reused connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiosmtplib

from chassis.settings import SettingError

SMTP_SECONDS_MAX = 5.0  # one command of the mail server
CONNECTIONS_MAX = 4  # what most servers allow one client; more than one, for each mail waits for four answers in a row


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


class Connections:
    """A few reused connections to one mail server, each of them with one mail at a time."""

    def __init__(self, server: MailServer) -> None:
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._idle = [
            aiosmtplib.SMTP(
                hostname=server.host,
                port=server.port,
                use_tls=server.tls,
                username=server.username,
                password=server.password,
                timeout=SMTP_SECONDS_MAX,
            )
            for _ in range(CONNECTIONS_MAX)
        ]

    @asynccontextmanager
    async def one(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Wait for a connection that nobody uses; the one that was used last, so that few are opened."""
        async with self._free:
            smtp = self._idle.pop()
            try:
                yield smtp
            finally:
                self._idle.append(smtp)

    def close(self) -> None:
        """Close all of them; a later mail opens one again."""
        for smtp in self._idle:
            smtp.close()
