"""Sentry listens on loopback, and counts as away if it does not complete a handshake."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sidecart.launcher import sentry
from sidecart.launcher.ports import free_port


def test_it_listens_on_loopback() -> None:
    """No flag opens its port elsewhere; metrics are off."""
    words = sentry.command(Path("/sentry"), Path("/config.yaml"), Path("/authority"), 7)

    assert "127.0.0.1" == words[words.index("--listen-address") + 1]
    assert "7" == words[words.index("--port") + 1]
    assert "--enable-metrics=false" in words


def test_a_silent_sentry_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system accepts connections for a paused process."""
    monkeypatch.setattr(sentry, "ANSWER_SECONDS_MAX", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        problem = sentry.problem(silent.getsockname()[1])

    assert problem is not None
    assert "sentry is unreachable" in problem
    assert "sentry is unreachable" in (sentry.problem(free_port()) or "")
