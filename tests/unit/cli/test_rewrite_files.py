"""Tests of `./sidecart rewrite-files` on servers that do not answer.

tests/full/test_personal_data.py runs it on a shop.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecart.cli import rewrite_files
from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.runfile import RunFile

CLOSED = {"REDIS_HOST": "127.0.0.1:1", "AMQP_URL": "amqp://127.0.0.1:1"}
ADDRESS = "ann@example.com"


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, system: RunFile | None) -> tuple[str, str]:
    """Run the command with `--search` on a system; return its output and its error."""
    monkeypatch.setattr(runfile, "read", lambda: system)
    monkeypatch.setattr(rewrite_files, "home", lambda: folder)
    done = CliRunner().invoke(rewrite_files.command, ["--search"], input=f"{ADDRESS}\n")
    assert isinstance(done.exception, LaunchError), done
    return done.stdout, str(done.exception)


def test_a_running_system_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Otherwise the servers cannot be asked."""
    assert ("", "no system is running: start one with make run") == run(monkeypatch, tmp_path, None)


def test_a_component_folder_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher knows none of its servers."""
    system = RunFile(1, "", "", ready=True, components="mine")

    assert "component folder" in run(monkeypatch, tmp_path, system)[1]


def test_a_server_that_the_launcher_did_not_start_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """RabbitMQ cannot be restarted, and the store is still asked; here it does not answer."""
    system = RunFile(1, "rabbitmq", "redis", ready=True, addresses=CLOSED)

    output, error = run(monkeypatch, tmp_path, system)

    assert "0 places have the text" in output
    assert [
        "rabbitmq: the launcher did not start it, and cannot restart it: see docs/how-to/erase-from-files.md",
        "valkey: REDIS_HOST=127.0.0.1:1",
        "valkey cannot be searched: REDIS_HOST=127.0.0.1:1",
    ] == [line.partition(": Error")[0] for line in error.splitlines()]
    assert ADDRESS not in output + error
