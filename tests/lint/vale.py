"""Finds Vale, the prose linter: installed, as the official release, or built from its Go module."""

import os
import shutil
import subprocess
from pathlib import Path

from sidecart.launcher import builds, programs
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.programs import NotReleased, Report

VERSION = "3.21.0"
"""Rules depend on how Vale splits sentences, so every machine uses this version (docs/adr/0041)."""

RELEASES = "https://github.com/vale-cli/vale/releases/download"
RELEASES_ENV = "SIDECART_VALE_RELEASES"
"""Overrides the download URL with a mirror that has the same layout."""

MODULE = "github.com/vale-cli/vale/v3/cmd/vale"

CHECKSUMS = {
    "Linux_64-bit": "96997d19a4ca6981673b0d4c5ca7f3ede4a9f97964a96edc29fba9e28a328336",
    "Linux_arm64": "90ffb06fe58db5be96c7d86f65d38213e5fc66b6e3c4eb3baa65b14a5830513e",
    "macOS_64-bit": "2bb72ae0e9b3802250cca416a13babdcfa7ca101517343344c060b370b4d406a",
    "macOS_arm64": "8080df46d74b82f0e725fb2949f31ade3dbd2987fd3fc506f9d9ed92e4a8002d",
}
"""The SHA-256 of each release archive, by the platform in its name."""

REMEDY = f"install Vale {VERSION} on PATH, or set VALE to it"


def find(report: Report, deadline: Deadline) -> Path:
    """Return Vale: $VALE, a `vale` of this version on PATH, or the cache, which is filled first.

    Raises LaunchError with the remedy if none of them works.
    """
    chosen = os.environ.get("VALE")
    if chosen:
        if not os.access(chosen, os.X_OK):
            raise LaunchError(f"VALE={chosen} is not a program that can be run")
        return Path(chosen)
    on_path = shutil.which("vale")
    if on_path and _version(on_path) == VERSION:
        return Path(on_path)
    return programs.cached("vale", VERSION, fetch, report, deadline)


def _version(program: str) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip().rpartition(" ")[2].removeprefix("v")


def fetch(program: Path, report: Report, deadline: Deadline) -> None:
    """Download Vale, or build it where the release is unreachable. The final rename is atomic."""
    programs.place(program, f"Vale {VERSION}", download, build, report, deadline)


def download(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Download the release and verify it against the pinned checksum.

    Raises NotReleased if the release is unreachable or has no archive for this platform.
    Raises BadChecksum if the archive differs from the pinned one.
    """
    archive_platform = _platform()
    if archive_platform not in CHECKSUMS:
        raise NotReleased(f"none for {archive_platform}")
    base = os.environ.get(RELEASES_ENV) or RELEASES
    archive = f"vale_{VERSION}_{archive_platform}.tar.gz"
    # The small file first: its short timeout detects a machine without open internet.
    checksums = f"{base}/v{VERSION}/vale_{VERSION}_checksums.txt"
    published = programs.published_checksum(checksums, deadline, archive)
    pinned = CHECKSUMS[archive_platform]
    if published != pinned:
        raise programs.BadChecksum(
            f"{checksums} has {published} for {archive}, but {pinned} is pinned: not used; {REMEDY}"
        )
    program = folder / "vale"
    programs.download(f"{base}/v{VERSION}/{archive}", pinned, program, f"Vale {VERSION}", REMEDY, report, deadline)
    return program


def _platform() -> str:
    # As Vale's releases name them: https://github.com/vale-cli/vale/blob/v3/.goreleaser.yml
    names = {"darwin": "macOS", "linux": "Linux"}
    machines = {"amd64": "64-bit"}
    machine = programs.machine()
    return f"{names.get(programs.system(), programs.system())}_{machines.get(machine, machine)}"


def build(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Build Vale from its Go module; its tree-sitter grammars are C, so this needs a C compiler.

    Raises LaunchError if the compiler is missing or the build fails.
    """
    compiler = os.environ.get("CC", "cc")
    if shutil.which(compiler.split()[0]) is None and shutil.which("gcc") is None:
        raise LaunchError(f"the build of Vale needs a C compiler (on Debian: apt-get install gcc); or {REMEDY}")
    go = builds.go(REMEDY, report, deadline)
    env = dict(os.environ) | {"CGO_ENABLED": "1", "GOWORK": "off", "GOFLAGS": "", "GOBIN": str(folder)}
    report(f"building {MODULE}@v{VERSION}: some minutes")
    command = [go, "install", "-trimpath", "-ldflags", f"-s -w -X main.version={VERSION}", f"{MODULE}@v{VERSION}"]
    builds.run(command, folder, env, REMEDY, deadline)
    return folder / "vale"
