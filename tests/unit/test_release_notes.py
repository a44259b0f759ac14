"""`.ci/release-notes` refuses a tag that does not fit, and prints the notes of one that fits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sidecart.launcher.project import root

CHANGELOG = """\
# Changelog

## [Unreleased]

## [1.2.0] - 2026-02-03

### Added
- A new command.

## [1.1.0] - 2026-01-02

### Fixed
- An old error.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of version 1.2.0 that is ready for its release."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(root() / ".ci" / "release-notes", tmp_path / ".ci")
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    (tmp_path / "contracts" / "released" / "1.2.0").mkdir(parents=True)
    return tmp_path


def notes(project: Path, *tags: str) -> tuple[int, str, str]:
    """Run the script; return its exit code and its output on stdout and stderr."""
    done = subprocess.run([project / ".ci" / "release-notes", *tags], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_notes_are_the_section_of_the_version(project: Path) -> None:
    """They end before the heading of the previous version."""
    code, output, errors = notes(project, "v1.2.0")

    assert (0, "") == (code, errors)
    assert "### Added\n- A new command." == output.strip()


def test_the_tag_of_another_version_is_refused(project: Path) -> None:
    """The message names both."""
    expected = "release-notes: the tag is v1.1.0, but the version in pyproject.toml is 1.2.0\n"

    assert (1, "", expected) == notes(project, "v1.1.0")


def test_a_version_without_notes_is_refused(project: Path) -> None:
    """A release needs its section in the changelog."""
    (project / "CHANGELOG.md").write_text(CHANGELOG.replace("[1.2.0]", "[1.2.1]"), encoding="utf-8")

    assert (1, "", "release-notes: CHANGELOG.md has no section [1.2.0]\n") == notes(project, "v1.2.0")


def test_a_version_without_released_contracts_is_refused(project: Path) -> None:
    """Later versions are compared with them."""
    shutil.rmtree(project / "contracts")
    code, output, errors = notes(project, "v1.2.0")

    assert (1, "") == (code, output)
    assert "run ./sidecart contracts release 1.2.0" in errors


def test_a_call_without_a_tag_is_refused(project: Path) -> None:
    """The message says how to call the script."""
    assert (1, "", "release-notes: usage: release-notes TAG\n") == notes(project)
