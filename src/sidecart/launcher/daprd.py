"""Finds daprd: an installed program, the official release, or a build from its Go module."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher import builds, programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.programs import PROGRESS_SECONDS, Report

VERSION = "1.18.2"
"""The newest released version that can be built (the module of 1.18.3 misses dependencies)."""

RELEASES = "https://github.com/dapr/dapr/releases/download"
RELEASES_ENV = "SIDECART_DAPRD_RELEASES"
"""Names another download location with the same layout: a mirror, or a test's server."""

GO_PACKAGES = 2200
"""About how many packages a cold build compiles; only the progress line uses it."""

SQLITE_RESOLVER = b"nameresolution/sqlite"
"""A binary that contains this can keep the systems on one machine apart (docs/adr)."""

REMEDY = f"set DAPRD to a daprd {VERSION}"


@dataclass(frozen=True, slots=True)
class Daprd:
    """A sidecar program and its capabilities."""

    path: Path
    source: str
    has_sqlite_resolver: bool


def find(report: Report, deadline: Deadline) -> Daprd:
    """Find or obtain daprd, as docs/reference/settings.md says."""
    configured = os.environ.get("DAPRD")
    if configured:
        path = Path(configured)
        if not os.access(path, os.X_OK):
            raise LaunchError(f"DAPRD={configured} is not an executable program")
        return _described(path, "$DAPRD")
    for path, source in _installed():
        version = _version(path)
        if version is not None and version.split(".")[:2] == VERSION.split(".")[:2]:
            return _described(path, source)
        report(f"{path} is daprd {version}; this project needs {VERSION.rpartition('.')[0]}, so it is not used")
    return _cached(report, deadline)


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


def _cached(report: Report, deadline: Deadline) -> Daprd:
    return _described(programs.cached("daprd", VERSION, fetch, report, deadline), "cache")


def fetch(program: Path, report: Report, deadline: Deadline) -> None:
    """Install the program atomically: download it if possible, else build it."""
    programs.place(program, f"daprd {VERSION}", download, build, report, deadline)


def download(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Download the release archive, verify its published SHA-256, and unpack the program.

    Raises NotReleased if the archive is not available, and BadChecksum if it differs from the
    published one.
    """
    base = os.environ.get(RELEASES_ENV) or RELEASES
    url = f"{base}/v{VERSION}/daprd_{programs.system()}_{programs.machine()}.tar.gz"
    published = programs.published_checksum(f"{url}.sha256", deadline)
    program = folder / "daprd"
    programs.download(url, published, program, f"daprd {VERSION}", "try again or set DAPRD", report, deadline)
    return program


def build(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Build the program from its Go module; the module's go.mod and go.sum pin the dependencies."""
    go = builds.go(REMEDY, report, deadline)
    env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    report(f"fetching the Go module github.com/dapr/dapr v{VERSION}")
    fetching = [go, "mod", "download", "-json", f"github.com/dapr/dapr@v{VERSION}"]
    answer = builds.run(fetching, folder, env, REMEDY, deadline)
    source = folder / "source"
    # A copy, to change one line. Every official release includes the resolver that keeps two
    # systems on one machine apart. The build tag of the stable components, which this build uses,
    # excludes it.
    shutil.copytree(json.loads(answer)["Dir"], source, copy_function=shutil.copyfile)
    for path in (source, *source.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    resolver = source / "cmd" / "daprd" / "components" / "nameresolution_sqlite.go"
    text = resolver.read_text(encoding="utf-8")
    resolver.write_text(
        text.replace("//go:build allcomponents\n", "//go:build allcomponents || stablecomponents\n"), encoding="utf-8"
    )
    program = folder / "daprd"
    flags = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}"
    command = [go, "build", "-v", "-trimpath", "-tags", "stablecomponents", "-ldflags", flags]
    command += ["-o", str(program), "./cmd/daprd"]
    builds.run(command, source, env, REMEDY, deadline, _counting(report))
    return program


def _counting(report: Report) -> Callable[[int], None]:
    started = reported_at = time.monotonic()

    def count(lines: int) -> None:
        nonlocal reported_at
        now = time.monotonic()
        if now - reported_at > PROGRESS_SECONDS:
            reported_at = now
            report(f"  building daprd: {lines} of about {GO_PACKAGES} packages, {now - started:.0f} s")

    return count
