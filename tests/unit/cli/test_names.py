"""A name that is none is never a success: it is refused with the names that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import watch
from cli.__main__ import main

CHOSEN = {
    "faults --mutants --mutant NONSENSE": "ETag",
    "dead-letters list --topic NONSENSE": "EmailRequested",
    "dead-letters replay --topic NONSENSE": "EmailRequested",
    "dead-letters list --service NONSENSE": "billing",
    "bench --only NONSENSE": "systems",
    "bench --broker NONSENSE": "redis",
    "test --broker NONSENSE": "redis",
    "run --broker NONSENSE": "redis",
    "demo --store NONSENSE": "postgres",
}
"""By command line one of the names that the message holds; argparse ends with 2."""
FOUND = {
    "demo --without NONSENSE": "billing",
    "demo --with NONSENSE=examples/user-node": "billing",
    "run --replicas NONSENSE=2": "billing",
    "logs NONSENSE": "order",
    "faults --mutant ETag": "--mutants",
}
"""Those that only the command itself can tell; they end with 1."""


@pytest.mark.parametrize("line", CHOSEN)
def test_a_name_that_is_none_ends_with_the_names_there_are(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and one of them in the message."""
    with pytest.raises(SystemExit) as exit:
        main(line.split())

    assert 2 == exit.value.code
    assert CHOSEN[line] in capsys.readouterr().err.rpartition("error:")[2]


@pytest.mark.parametrize("line", FOUND)
def test_a_name_that_a_command_does_not_find_is_said(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, one line, and what there is."""
    (tmp_path / "order.log").touch()
    monkeypatch.setattr(watch, "LOGS", tmp_path)

    assert 1 == main(line.split())
    assert FOUND[line] in capsys.readouterr().err


@pytest.mark.parametrize(("name", "line"), [("SEED", "faults"), ("BROKER", "demo"), ("STORE", "demo")])
def test_a_wrong_name_in_the_environment_is_refused_too(
    name: str, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No parser checks it."""
    monkeypatch.setenv(name, "NONSENSE")

    assert 1 == main([line])
    assert "NONSENSE" in capsys.readouterr().err
