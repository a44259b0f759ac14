"""The mail catcher keeps serving despite hundreds of silent connections."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.servers.bounded import CONNECTIONS_MAX

HALF_OPEN = 500
MEMORY_MAX = 200 * 1024 * 1024
MAIL = "Subject: for ada@example.com\r\nMessage-ID: <1@here>\r\n\r\nHello Ada"


@dataclass(frozen=True, slots=True)
class Catcher:
    """A running mail catcher."""

    process: psutil.Process
    smtp_port: int
    http_port: int
    log: Path

    def send(self) -> None:
        """Send a mail."""
        with smtplib.SMTP("127.0.0.1", self.smtp_port, timeout=20) as smtp:
            smtp.sendmail("shop@localhost", ["ada@example.com"], MAIL)

    def mails(self) -> int:
        """Return the number of mails that the catcher shows."""
        return len(httpx.get(f"http://127.0.0.1:{self.http_port}/mails", timeout=20, trust_env=False).json())


@pytest.fixture
def catcher(tmp_path: Path) -> Iterator[Catcher]:
    """Start a mail catcher as a process."""
    smtp, http, log = free_port(), free_port(), tmp_path / "mail.log"
    words = ["-m", "sidecart.launcher.servers.mailcatcher", "--smtp-port", str(smtp), "--http-port", str(http)]
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, *words], stderr=file)
    try:
        Deadline().until(lambda: is_listening(smtp) and is_listening(http), 60, lambda: "no mail catcher", 0.1)
        yield Catcher(psutil.Process(process.pid), smtp, http, log)
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("beginning", [b"", b"GET /mails HT", b"EHLO"], ids=["nothing", "half a GET", "half an EHLO"])
def test_silent_connections_cost_little_and_delay_no_mail(catcher: Catcher, beginning: bytes) -> None:
    """Despite 500 connections per port, resources stay bounded, and a mail arrives."""
    with ExitStack() as opened:
        for port in (catcher.smtp_port, catcher.http_port):
            for _ in range(HALF_OPEN):
                connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
                try:
                    connection.send(beginning)
                except OSError:
                    continue  # the server has already closed it
        catcher.send()
        assert 1 == catcher.mails()
        assert catcher.process.num_threads() < CONNECTIONS_MAX + 20
        assert catcher.process.memory_info().rss < MEMORY_MAX


def test_the_log_names_no_user(catcher: Catcher) -> None:
    """The log records that a mail arrived, without its recipient and subject."""
    catcher.send()

    Deadline().until(lambda: b"mail 1: " in catcher.log.read_bytes(), 20, lambda: "no line", 0.05)
    assert b"ada" not in catcher.log.read_bytes().lower()
