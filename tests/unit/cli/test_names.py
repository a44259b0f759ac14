"""Unknown names are refused with a list of the valid ones."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from sidecart.cli import logs
from sidecart.cli.__main__ import main

CHOSEN = {
    "faults --mutants --mutant NONSENSE": "ETag",
    "dead-letters list --topic NONSENSE": "unknown name 'NONSENSE': choose from 'UserCreateRequested', ",
    "dead-letters replay --topic NONSENSE": "EmailRequested",
    "dead-letters list --service NONSENSE": "billing",
    "bench --only NONSENSE": "systems",
    "bench --broker NONSENSE": "redis",
    "test --broker NONSENSE": "redis",
    "run --broker NONSENSE": "redis",
    "demo --store NONSENSE": "postgres",
    "statsu": "status",
    "completion NONSENSE": "bash",
    "dead-letters show ''": "the value is empty",
    "logs ''": "the value is empty",
    "logs --kubernetes ''": "the value is empty",
    "status --kubernetes ''": "the value is empty",
    "audit-trail --kubernetes ''": "the value is empty",
    "audit-trail --before ''": "is not a valid integer",
    "kubernetes down --context ''": "the value is empty",
}
"""Maps a command line to a valid name in the error message; the exit code is 2."""
FOUND = {
    "demo --without NONSENSE": "billing",
    "demo --with NONSENSE=examples/user-node": "billing",
    "run --replicas NONSENSE=2": "billing",
    "logs NONSENSE": "order",
    "faults --mutant ETag": "--mutants",
}
"""Names that only the command itself can check; it exits with 1."""


@pytest.mark.parametrize("line", CHOSEN)
def test_the_parser_refuses_an_unknown_name(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the message lists the valid names."""
    assert 2 == main(shlex.split(line))
    assert CHOSEN[line] in capsys.readouterr().err.rpartition("Error:")[2]


@pytest.mark.parametrize("line", FOUND)
def test_a_command_refuses_an_unknown_name(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 1, and the message lists the valid names."""
    (tmp_path / "order.log").touch()
    monkeypatch.setattr(logs, "log_folder", lambda: tmp_path)

    assert 1 == main(shlex.split(line))
    assert FOUND[line] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "line"), [("SEED", "faults"), ("BROKER", "demo"), ("STORE", "demo"), ("BROKER", "run"), ("PORT", "run")]
)
def test_an_unknown_name_in_the_environment_is_refused(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the variable and the value, as for an option; the exit code is 2."""
    monkeypatch.setenv(name, "NONSENSE")

    assert 2 == main([line])
    error = capsys.readouterr().err.rpartition("Error:")[2]
    assert name in error
    assert "NONSENSE" in error
