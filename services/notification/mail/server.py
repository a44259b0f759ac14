"""The mail server: its address and TLS policy, and how a connection to it is opened."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiosmtplib
from prometheus_client import Counter

from sidecart.chassis.settings import SettingError, choice

log = logging.getLogger(__name__)

# The timeout of the greeting in RFC 5321, section 4.5.3.2; also used for EHLO, STARTTLS and AUTH.
CONNECT_SECONDS_MAX = 300.0
# Most servers allow one client this many. More than one, because each mail waits for four replies.
CONNECTIONS_MAX = 4
OFF, OPPORTUNISTIC, REQUIRE = TLS = ("off", "opportunistic", "require")

_TLS = Counter("sidecart_mail_connections", "Connections to the mail server, by their encryption.", ("tls",))
CONNECTED = {kind: _TLS.labels(kind) for kind in ("verified", "unverified", "none", "refused")}


class TlsError(Exception):
    """The connection is not as private as MAIL_TLS requires."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """The address and TLS policy of the mail server.

    SMTP_URL is `smtp://[user:password@]host[:port]`, or `smtps://...` for implicit TLS.
    """

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    policy: str = OPPORTUNISTIC
    ca_file: str | None = None

    @classmethod
    def from_url(cls, url: str, policy: str = "", ca_file: str | None = None) -> MailServer:
        """Parse the settings, or raise SettingError.

        The default policy is `opportunistic` for smtp:// to a loopback host, else `require`.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingError("SMTP_URL", str(error)) from error
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingError("SMTP_URL", "is not smtp://host:port or smtps://host:port")
        tls = parts.scheme == "smtps"
        default = OPPORTUNISTIC if not tls and _is_loopback(parts.hostname) else REQUIRE
        policy = choice({"MAIL_TLS": policy}, "MAIL_TLS", TLS, default)
        if tls and policy == OFF:
            raise SettingError("MAIL_TLS", "is off, but SMTP_URL starts with smtps://")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        server = cls(parts.hostname, port or (465 if tls else 25), tls, username, password, policy, ca_file or None)
        if policy != OFF:
            server.context()
        return server

    def context(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the CA file alone, or the system's authorities."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingError("MAIL_CA_FILE", f"cannot be read: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Connector:
    """Opens connections to one mail server by its TLS policy."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._context: ssl.SSLContext | None = None
        self._local_hostname: str | None = None  # for EHLO; finding it may need DNS

    async def open(self) -> aiosmtplib.SMTP:
        """Connect, encrypt and log in by the settings; raise TlsError or an aiosmtplib error."""
        try:
            smtp, kind = await self._open(self._verified)
        except Exception as error:
            invalid = _certificate_error(error)
            if invalid is None:
                raise
            CONNECTED["refused"].inc()
            message = f"the mail server's certificate cannot be verified: {invalid.verify_message or invalid}"
            if self._server.policy == REQUIRE or self._server.tls:
                log.error("%s; mails wait (see the settings MAIL_CA_FILE and MAIL_TLS)", message)
                raise TlsError(message) from error
            log.warning("%s; with MAIL_TLS=opportunistic the connection is encrypted anyway", message)
            smtp, kind = await self._open(_unverified)
        CONNECTED[kind].inc()
        return smtp

    async def _verified(self) -> ssl.SSLContext:
        if self._context is None:
            # Loading all authorities takes too long for the event loop.
            self._context = await asyncio.to_thread(self._server.context)
        return self._context

    async def _open(self, context: Callable[[], Awaitable[ssl.SSLContext]]) -> tuple[aiosmtplib.SMTP, str]:
        server = self._server
        smtp = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls,
            start_tls=False,
            tls_context=await context() if server.tls else None,
            timeout=CONNECT_SECONDS_MAX,
            local_hostname=self._local_hostname,
        )
        try:
            await smtp.connect()
            self._local_hostname = smtp.local_hostname
            kind = await self._encrypt(smtp, context)
            if server.username is not None:
                if kind == "none" and server.policy != OFF:
                    raise TlsError("the mail server offers no TLS; a password is sent over TLS only")
                await smtp.login(server.username, server.password or "")
        except BaseException:
            smtp.close()
            raise
        return smtp, kind

    async def _encrypt(self, smtp: aiosmtplib.SMTP, context: Callable[[], Awaitable[ssl.SSLContext]]) -> str:
        server = self._server
        if server.policy == OFF:
            return "none"
        if not server.tls:
            await hello(smtp)
            if not smtp.supports_extension("starttls"):
                return self._without_tls()
            await smtp.starttls(tls_context=await context())
        return "verified" if context == self._verified else "unverified"

    def _without_tls(self) -> str:
        if self._server.policy == REQUIRE:
            CONNECTED["refused"].inc()
            message = "the mail server offers no TLS, but MAIL_TLS is require"
            log.error("%s; mails wait", message)
            raise TlsError(message)
        return "none"


async def hello(smtp: aiosmtplib.SMTP) -> None:
    """Send EHLO, or HELO to a server that does not support EHLO."""
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not smtp.is_connected:
            raise
        await smtp.helo()


async def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """Return the failed certificate verification that caused an error, or None."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
