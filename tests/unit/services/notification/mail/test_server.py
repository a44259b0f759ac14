"""SMTP_URL, MAIL_TLS and MAIL_CA_FILE; every unverified certificate is reported."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.notification.mail.server import OFF, OPPORTUNISTIC, REQUIRE, MailServer
from sidecart.chassis.settings import SettingError
from tests.unit.chassis.telemetry.test_metrics import Counted
from tests.unit.services.notification.mail.harness import MailHarness, Script, Server, requested, serving

KINDS = ("verified", "unverified", "none", "refused")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a self-signed certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    more = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{folder}/key", "-out", f"{folder}/certificate"]
    subprocess.run(["openssl", *words.split(), *more], check=True, capture_output=True)
    return folder / "certificate"


@pytest.fixture
def context(certificate: Path) -> ssl.SSLContext:
    """Return the TLS context of the server."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, certificate.with_name("key"))
    return made


def sent_to(script: Script, **server: Any) -> tuple[Server, MailHarness]:
    """Request one mail from a server with this script."""
    harness = MailHarness()

    async def scenario() -> Server:
        async with serving(script) as serves:
            process = harness.process(serves.port, **server)
            process.delivery.window_seconds = 10.0
            await process.handle(requested())
            harness.close()
            await asyncio.sleep(0)
            return serves

    return asyncio.run(scenario()), harness


def starttls(context: ssl.SSLContext) -> Script:
    """Return the script of a server that offers STARTTLS."""
    return Script(tls=context, extensions=(b"STARTTLS",))


@pytest.mark.parametrize("policy", [OPPORTUNISTIC, REQUIRE])
def test_a_certificate_of_the_given_authority_is_verified(
    policy: str, context: ssl.SSLContext, certificate: Path
) -> None:
    """MAIL_CA_FILE makes the server's certificate trusted."""
    counted = Counted()
    server, harness = sent_to(starttls(context), policy=policy, ca_file=str(certificate))

    assert (1, 1) == (server.over_tls, len(server.copies))
    assert None is not harness.notification()["sent_at"]
    assert [1, 0, 0, 0] == [counted("sidecart_mail_connections_total", tls=kind) for kind in KINDS]


def test_require_refuses_an_unverified_certificate_and_the_mail_waits(
    context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the verification error and the setting MAIL_CA_FILE."""
    counted = Counted()
    server, harness = sent_to(starttls(context), policy=REQUIRE)

    assert ([], [1]) == (server.copies, [len(harness.index)])
    assert "certificate cannot be verified: self-signed certificate" in caplog.text
    assert "MAIL_CA_FILE" in caplog.text
    assert [0, 0, 0, 1] == [counted("sidecart_mail_connections_total", tls=kind) for kind in KINDS]


def test_opportunistic_encrypts_with_an_unverified_certificate_and_reports_it(
    context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has a warning, and the metric counts an unverified connection."""
    counted = Counted()
    server, harness = sent_to(starttls(context), policy=OPPORTUNISTIC)

    assert (1, 1) == (server.over_tls, len(server.copies))
    assert None is not harness.notification()["sent_at"]
    assert "certificate cannot be verified" in caplog.text
    assert [0, 1, 0, 1] == [counted("sidecart_mail_connections_total", tls=kind) for kind in KINDS]


@pytest.mark.parametrize(("policy", "copies"), [(OFF, 1), (OPPORTUNISTIC, 1), (REQUIRE, 0)])
def test_a_server_without_tls_gets_mails_unless_it_is_required(
    policy: str, copies: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With `require` the mail waits, and the log says why."""
    server, harness = sent_to(Script(), policy=policy)

    assert (copies, 1 - copies) == (len(server.copies), len(harness.index))
    assert (policy == REQUIRE) == ("offers no TLS" in caplog.text)


def test_off_ignores_an_offered_starttls(context: ssl.SSLContext) -> None:
    """With MAIL_TLS=off the mail goes over an unencrypted connection."""
    server, _ = sent_to(starttls(context), policy=OFF)

    assert (0, 1) == (server.over_tls, len(server.copies))


def test_a_password_is_sent_over_tls_only() -> None:
    """A server without TLS gets neither the password nor the mail."""
    script = Script(answers={b"AUTH": b"235 welcome"}, extensions=(b"AUTH PLAIN",))
    server, harness = sent_to(script, policy=OPPORTUNISTIC, username="ann", password="secret")

    assert ([], 1) == (server.copies, len(harness.index))
    assert b"EHLO" in server.commands
    assert b"AUTH" not in server.commands


@pytest.mark.parametrize("trusted", [True, False])
def test_implicit_tls_is_always_verified(
    trusted: bool, context: ssl.SSLContext, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """smtps:// refuses an unverified certificate under every policy."""
    harness = MailHarness()

    async def scenario() -> int:
        server = Server(Script())
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        port = listening.sockets[0].getsockname()[1]
        process = harness.process(port, tls=True, ca_file=str(certificate) if trusted else None)
        process.delivery.window_seconds = 10.0
        await process.handle(requested())
        harness.close()
        listening.close()
        await asyncio.sleep(0.05)
        return len(server.copies)

    assert int(trusted) == asyncio.run(scenario())
    assert trusted != ("certificate cannot be verified" in caplog.text)


@pytest.mark.parametrize(
    ("url", "policy", "ca_file", "name"),
    [
        ("smtp://mail.example.com", "maybe", "", "MAIL_TLS"),
        ("smtps://mail.example.com", "off", "", "MAIL_TLS"),
        ("smtp://mail.example.com", "", "/no/such/file", "MAIL_CA_FILE"),
    ],
)
def test_a_wrong_setting_stops_the_start_by_name(url: str, policy: str, ca_file: str, name: str) -> None:
    """The SettingError names the wrong setting."""
    with pytest.raises(SettingError, match=name):
        MailServer.from_url(url, policy, ca_file)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 25, False, None, None, REQUIRE)),
        ("smtp://127.0.0.1:1025", MailServer("127.0.0.1", 1025, False, None, None, OPPORTUNISTIC)),
        ("smtps://ann:p%40ss@mail.example.com", MailServer("mail.example.com", 465, True, "ann", "p@ss", REQUIRE)),
    ],
)
def test_the_server_comes_from_one_url(url: str, expected: MailServer) -> None:
    """The URL gives the host, port, credentials and TLS policy; loopback makes TLS optional."""
    assert expected == MailServer.from_url(url)


@pytest.mark.parametrize("url", ["mail.example.com", "http://x", "smtp://", "smtp://x:port"])
def test_a_wrong_url_stops_the_start_by_name(url: str) -> None:
    """An invalid URL raises a SettingError that names SMTP_URL."""
    with pytest.raises(SettingError, match="SMTP_URL"):
        MailServer.from_url(url)
