"""Programs of Dapr: the official release of one, or a build from its Go module."""

import json
import os
import shutil
import time
from collections.abc import Callable
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


def _unchanged(source: Path) -> None:
    del source


@dataclass(frozen=True, slots=True)
class DaprProgram:
    """One program of Dapr's releases."""

    name: str
    env: str
    """The variable that names an installed program."""
    packages: int
    """About how many packages a cold build compiles; only the progress line uses it."""
    change: Callable[[Path], None] = _unchanged
    """Changes the copied source before a build."""

    @property
    def title(self) -> str:
        """The program and its version."""
        return f"{self.name} {VERSION}"

    @property
    def remedy(self) -> str:
        """The way out if the program cannot be obtained."""
        return f"set {self.env} to a {self.title}"

    def configured(self) -> Path | None:
        """Return the program that the variable names; raise LaunchError if it is not executable."""
        named = os.environ.get(self.env)
        if not named:
            return None
        if not os.access(named, os.X_OK):
            raise LaunchError(f"{self.env}={named} is not an executable program")
        return Path(named)

    def cached(self, report: Report, deadline: Deadline) -> Path:
        """Return the cached program; fetch it first if the cache lacks it."""
        return programs.cached(self.name, VERSION, self.fetch, report, deadline)

    def fetch(self, program: Path, report: Report, deadline: Deadline) -> None:
        """Install the program atomically: download it if possible, else build it."""
        programs.place(program, self.title, self.download, self.build, report, deadline)

    def download(self, folder: Path, report: Report, deadline: Deadline) -> Path:
        """Download the release archive, verify its published SHA-256, and unpack the program.

        Raises NotReleased if the archive is not available, and BadChecksum if it differs from the
        published one.
        """
        base = os.environ.get(RELEASES_ENV) or RELEASES
        url = f"{base}/v{VERSION}/{self.name}_{programs.system()}_{programs.machine()}.tar.gz"
        published = programs.published_checksum(f"{url}.sha256", deadline)
        program = folder / self.name
        programs.download(url, published, program, self.title, f"try again or set {self.env}", report, deadline)
        return program

    def build(self, folder: Path, report: Report, deadline: Deadline) -> Path:
        """Build the program from the Go module, whose go.mod and go.sum pin the dependencies."""
        go = builds.go(self.remedy, report, deadline)
        env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
        report(f"fetching the Go module github.com/dapr/dapr v{VERSION}")
        fetching = [go, "mod", "download", "-json", f"github.com/dapr/dapr@v{VERSION}"]
        answer = builds.run(fetching, folder, env, self.remedy, deadline)
        source = folder / "source"
        # A copy, because a program may change its source, and the module's folder is read-only.
        shutil.copytree(json.loads(answer)["Dir"], source, copy_function=shutil.copyfile)
        for path in (source, *source.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        self.change(source)
        program = folder / self.name
        flags = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={VERSION}"
        command = [go, "build", "-v", "-trimpath", "-tags", "stablecomponents", "-ldflags", flags]
        command += ["-o", str(program), f"./cmd/{self.name}"]
        builds.run(command, source, env, self.remedy, deadline, self._counting(report))
        return program

    def _counting(self, report: Report) -> Callable[[int], None]:
        started = reported_at = time.monotonic()

        def count(lines: int) -> None:
            nonlocal reported_at
            now = time.monotonic()
            if now - reported_at > PROGRESS_SECONDS:
                reported_at = now
                report(f"  building {self.name}: {lines} of about {self.packages} packages, {now - started:.0f} s")

        return count
