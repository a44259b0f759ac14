"""`sidecart manifests` writes missing and old files, and reports them with --check."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.cli import manifests
from sidecart.cli.__main__ import main

NEW, OLD, EXTRA = (f"deploy/kubernetes/base/{name}.yaml" for name in ("new", "old", "extra"))
WANTED = {NEW: "kind: A\n", OLD: "kind: B\n"}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a project with an old file; the other file is missing."""
    (tmp_path / OLD).parent.mkdir(parents=True)
    (tmp_path / OLD).write_text("kind: C\n", encoding="utf-8")
    monkeypatch.setattr(manifests, "root", lambda: tmp_path)
    monkeypatch.setattr(manifests, "manifests", lambda: WANTED)
    monkeypatch.setattr(manifests, "unexpected", lambda: [path for path in [tmp_path / EXTRA] if path.exists()])
    return tmp_path


def test_files_are_written_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second call changes nothing."""
    assert 0 == main(["manifests"])
    assert WANTED == {name: (project / name).read_text(encoding="utf-8") for name in WANTED}
    assert 0 == main(["manifests"])
    assert ["deploy/kubernetes: 2 files written", "deploy/kubernetes is up to date"] == capsys.readouterr().out.split(
        "\n"
    )[:2]


def test_check_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1, and each line names a file."""
    assert 1 == main(["manifests", "--check"])
    assert not (project / NEW).exists()
    assert f"{OLD} is old: run `sidecart manifests`" in capsys.readouterr().out


def test_a_file_without_a_source_is_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not removed: it may be yours."""
    (project / EXTRA).touch()

    assert 1 == main(["manifests"])
    assert f"{EXTRA} has no source: remove it, or move it to your own folder" in capsys.readouterr().out


def test_an_unknown_overlay_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists the valid ones."""
    assert 2 == main(["manifests", "--secrets", "NONSENSE"])
    assert "rabbitmq-postgres" in capsys.readouterr().err
