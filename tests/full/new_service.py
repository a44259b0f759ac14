"""Adds the service of examples/loyalty to a copy of the project: its new files and its edits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher.environment import plain_environment
from sidecart.launcher.project import root

EXAMPLE = root() / "examples" / "loyalty"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".sidecart", ".*_cache", ".hypothesis", "__pycache__", "node_modules", "secrets", "names.sqlite*"
)
START = "start"
CHECK = "from sidecart.launcher.consistency import check; check()"


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines that the service adds to an existing file, and the check that misses them."""

    file: str
    lines: str
    reported_by: str
    """`start`, or a test file."""
    message: str
    before: str = ""
    after: str = ""

    @property
    def anchor(self) -> str:
        """The text of the original file beside which the lines stand."""
        return self.before or self.after

    @property
    def changed(self) -> str:
        """The anchor with the lines."""
        return self.after + self.lines + self.before


def edits() -> list[Edit]:
    """Return the edits of the example, in the sequence of its file."""
    return [Edit(**each) for each in tomllib.loads((EXAMPLE / "edits.toml").read_text("utf-8"))["edit"]]


def new_files() -> list[str]:
    """Return the paths of the new files, relative to the project."""
    return sorted(str(path.relative_to(EXAMPLE / "files")) for path in (EXAMPLE / "files").rglob("*") if path.is_file())


def extended_copy(folder: Path) -> Path:
    """Copy the project to a folder that does not exist, and add the service."""
    shutil.copytree(root(), folder, ignore=NOT_COPIED)
    (folder / ".venv").symlink_to(sys.prefix)
    for name in new_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(EXAMPLE / "files" / name, folder / name)
    for each in edits():
        replace(folder, each.file, each.anchor, each.changed)
    return folder


def replace(folder: Path, file: str, old: str, new: str) -> None:
    """Replace a text that a file of the copy contains once."""
    text = (folder / file).read_text("utf-8")
    assert 1 == text.count(old), f"{file} contains {text.count(old)} times: {old}"
    (folder / file).write_text(text.replace(old, new), "utf-8")


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the copy, which finds the copy's own packages first."""
    env = plain_environment() | {
        "PYTHONPATH": os.pathsep.join([str(folder / "src"), str(folder)]),
        "SIDECART_PROJECT": str(folder),
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def report(folder: Path, reported_by: str) -> subprocess.CompletedProcess[str]:
    """Run the check that precedes a start, or a test file."""
    words: Sequence[str] = ("-c", CHECK) if reported_by == START else ("-m", "pytest", "-q", reported_by)
    return python(folder, *words)
