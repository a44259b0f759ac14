"""The mail server: where it is, whether it answers, and a few reused connections to it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

import aiosmtplib
from prometheus_client import Counter

from chassis.settings import SettingError, choice

log = logging.getLogger(__name__)

CONNECT_SECONDS_MAX = 300.0  # RFC 5321, section 4.5.3.2: the greeting; the same for EHLO, STARTTLS and AUTH
CONNECTIONS_MAX = 4  # what most servers allow one client; more than one, for each mail waits for four answers in a row
PROBE_PAUSE = timedelta(seconds=1)  # after the first failure to reach the server; then twice as long each time
PROBE_PAUSE_MAX = timedelta(seconds=30)
OFF, OPPORTUNISTIC, REQUIRE = TLS = ("off", "opportunistic", "require")

_TLS = Counter("sidecart_mail_connections", "Connections to the mail server, by their encryption.", ("tls",))
CONNECTED = {kind: _TLS.labels(kind) for kind in ("verified", "unverified", "none", "refused")}


class TlsError(Exception):
    """The connection is not as private as MAIL_TLS requires."""


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where to send mail, from SMTP_URL: smtp://[user:password@]host[:port], smtps:// for TLS from the start."""

    host: str
    port: int
    tls: bool
    username: str | None
    password: str | None
    policy: str = OPPORTUNISTIC
    ca_file: str | None = None

    @classmethod
    def from_url(cls, url: str, policy: str = "", ca_file: str | None = None) -> MailServer:
        """Read the settings; raise SettingError for one that is wrong. A loopback server may do without TLS."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingError("SMTP_URL", str(error)) from error
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingError("SMTP_URL", "is not smtp://host:port or smtps://host:port")
        tls = parts.scheme == "smtps"
        usual = OPPORTUNISTIC if not tls and _is_loopback(parts.hostname) else REQUIRE
        policy = choice({"MAIL_TLS": policy}, "MAIL_TLS", TLS, usual)
        if tls and policy == OFF:
            raise SettingError("MAIL_TLS", "is off, and SMTP_URL says smtps://")
        username = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        server = cls(parts.hostname, port or (465 if tls else 25), tls, username, password, policy, ca_file or None)
        if policy != OFF:
            server.context()
        return server

    def context(self) -> ssl.SSLContext:
        """What a certificate is verified with: the system's authorities, or those of the file alone."""
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise SettingError("MAIL_CA_FILE", f"cannot be read: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Reach:
    """Whether the server can be reached: after a failure, one mail probes it later and later; any answer clears it."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._failures = 0
        self._failed_at = self._next = now()

    def may_try(self) -> bool:
        """Whether a session may begin now; after failures only one at a time may, the probe."""
        now = self._now()
        if self._failures and now < self._next:
            return False
        self._next = now + self._pause
        return True

    @property
    def is_lost(self) -> bool:
        """Whether the last that is known of the server is a failure."""
        return self._failures > 0

    @property
    def wait(self) -> timedelta:
        """How long until the next probe."""
        return max(self._next - self._now(), timedelta()) if self._failures else timedelta()

    def failed(self, began: datetime) -> None:
        """Note a failure of a session that began then; those that failed together count as one."""
        if self._failures and began < self._failed_at:
            return
        self._failures += 1
        self._failed_at = self._now()
        self._next = self._failed_at + self._pause

    def answered(self) -> None:
        """Note that the server is there."""
        self._failures = 0

    @property
    def _pause(self) -> timedelta:
        return min(PROBE_PAUSE * 2.0 ** min(max(self._failures - 1, 0), 10), PROBE_PAUSE_MAX)


class Connections:
    """Reused connections to one mail server, each of them with one mail at a time."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._idle: list[aiosmtplib.SMTP] = []
        self._context: ssl.SSLContext | None = None
        self._our_name: str | None = None  # for EHLO; to find it out may take a look into the DNS

    def take(self) -> aiosmtplib.SMTP | None:
        """Return an idle connection, the one that was used last, so that few are kept."""
        while self._idle:
            smtp = self._idle.pop()
            if smtp.is_connected:
                return smtp
        return None

    def give_back(self, smtp: aiosmtplib.SMTP) -> None:
        """Keep a connection for the next mail if it is fit for one, else close it."""
        if smtp.is_connected and len(self._idle) < CONNECTIONS_MAX:
            self._idle.append(smtp)
        else:
            smtp.close()

    def close(self) -> None:
        """Close all that are idle; a later mail opens one again."""
        while self._idle:
            self._idle.pop().close()

    async def open(self) -> aiosmtplib.SMTP:
        """Connect, encrypt and log in as the settings say; raise what aiosmtplib raises, or TlsError."""
        try:
            smtp, kind = await self._open(self._verified)
        except Exception as error:
            invalid = _certificate_error(error)
            if invalid is None:
                raise
            CONNECTED["refused"].inc()
            message = f"the mail server's certificate cannot be verified: {invalid.verify_message or invalid}"
            if self._server.policy == REQUIRE or self._server.tls:
                log.error("%s; mails wait (MAIL_CA_FILE names the authority, MAIL_TLS the policy)", message)
                raise TlsError(message) from error
            log.warning("%s; MAIL_TLS is opportunistic: the connection is encrypted all the same", message)
            smtp, kind = await self._open(_unverified)
        CONNECTED[kind].inc()
        return smtp

    async def _verified(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = await asyncio.to_thread(self._server.context)  # it reads every authority there is
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
            local_hostname=self._our_name,
        )
        try:
            await smtp.connect()
            self._our_name = smtp.local_hostname
            kind = await self._encrypt(smtp, context)
            if server.username is not None:
                if kind == "none" and server.policy != OFF:
                    raise TlsError("the mail server offers no TLS, and a password goes over TLS alone")
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
            message = "the mail server offers no TLS, which MAIL_TLS=require asks for"
            log.error("%s; mails wait", message)
            raise TlsError(message)
        return "none"


async def hello(smtp: aiosmtplib.SMTP) -> None:
    """Say EHLO, or HELO to a server that knows no better."""
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
    """The failed verification that an error comes from, if it does."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None
