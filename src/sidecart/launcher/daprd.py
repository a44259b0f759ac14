"""Finds daprd: an installed program, the official release, or a build from its Go module."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher import dapr_release
from sidecart.launcher.dapr_release import DaprProgram
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.programs import Report

VERSION = dapr_release.VERSION

SQLITE_RESOLVER = b"nameresolution/sqlite"
"""A binary that contains this can keep the systems on one machine apart (docs/adr)."""


def _with_sqlite_resolver(source: Path) -> None:
    # Every official release includes the resolver that keeps two systems on one machine apart. The
    # build tag of the stable components, which this build uses, excludes it.
    resolver = source / "cmd" / "daprd" / "components" / "nameresolution_sqlite.go"
    text = resolver.read_text(encoding="utf-8")
    resolver.write_text(
        text.replace("//go:build allcomponents\n", "//go:build allcomponents || stablecomponents\n"), encoding="utf-8"
    )


PROGRAM = DaprProgram("daprd", "DAPRD", packages=2200, change=_with_sqlite_resolver)


@dataclass(frozen=True, slots=True)
class Daprd:
    """A sidecar program and its capabilities."""

    path: Path
    source: str
    has_sqlite_resolver: bool


def find(report: Report, deadline: Deadline) -> Daprd:
    """Find or obtain daprd, as docs/reference/settings.md says."""
    configured = PROGRAM.configured()
    if configured is not None:
        return _described(configured, "$DAPRD")
    for path, source in _installed():
        version = _version(path)
        if version is not None and version.split(".")[:2] == VERSION.split(".")[:2]:
            return _described(path, source)
        report(f"{path} is daprd {version}; this project needs {VERSION.rpartition('.')[0]}, so it is not used")
    return _described(PROGRAM.cached(report, deadline), "cache")


def _installed() -> Iterator[tuple[Path, str]]:
    initialised = Path.home() / ".dapr" / "bin" / "daprd"
    if os.access(initialised, os.X_OK):
        yield initialised, "dapr init"
    on_path = shutil.which("daprd")
    if on_path:
        yield Path(on_path), "PATH"


def _version(path: Path) -> str | None:
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _described(path: Path, source: str) -> Daprd:
    return Daprd(path.resolve(), source, contains(path, SQLITE_RESOLVER))


def contains(path: Path, needle: bytes) -> bool:
    """Whether a file contains these bytes."""
    tail = b""
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            if needle in tail + block:
                return True
            tail = block[-len(needle) :]
    return False
