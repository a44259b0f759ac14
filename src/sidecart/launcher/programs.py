"""Downloads, verifies and caches the programs that PyPI does not have: daprd and Vale."""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shutil
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from sidecart.launcher import first_downloads
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError

CONNECT_SECONDS = 4
"""The timeout for the checksum, a file of a few hundred bytes.

Without open internet the build starts this soon.
"""
DOWNLOAD_SECONDS = 600
PROGRESS_SECONDS = 5
CHECKSUMS_BYTES_MAX = 10_000

Report = Callable[[str], None]
Fetch = Callable[[Path, Report, Deadline], None]
"""Puts the program at the path."""
Make = Callable[[Path, Report, Deadline], Path]
"""Downloads or builds the program in a folder and returns its path."""
T = TypeVar("T")


class NotReleased(Exception):
    """The official release is not available here; the text is the reason."""


class BadChecksum(LaunchError):
    """The downloaded file differs from the released file."""


def system() -> str:
    """The operating system, as Go names it."""
    return platform.system().lower()


def machine() -> str:
    """The processor architecture, as Go names it."""
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm"}
    return names.get(platform.machine().lower(), platform.machine().lower())


# --- The cache


def cache_folder() -> Path:
    """The folder of all cached programs; each version has its own subfolder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sidecart"


def cached(name: str, version: str, fetch: Fetch, report: Report, deadline: Deadline) -> Path:
    """Return the cached program; fetch it first if the cache lacks it."""
    folder = cache_folder() / f"{name}-{version}-{system()}-{machine()}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    with locked(folder / "lock", name, report, deadline):
        if not program.exists():
            fetch(program, report, deadline)
    return program


@contextlib.contextmanager
def locked(path: Path, name: str, report: Report, deadline: Deadline) -> Iterator[None]:
    """Hold a lock file, so that of two concurrent launchers one fetches and the other waits."""
    with path.open("w") as file:
        is_reported = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_reported:
                    report(f"another launcher is fetching {name}: waiting for it")
                    is_reported = True
                deadline.pause(0.2)
        yield


def place(program: Path, title: str, download: Make, build: Make, report: Report, deadline: Deadline) -> None:
    """Download the program, or build it if there is no release; the final rename is atomic."""
    with tempfile.TemporaryDirectory(dir=program.parent, prefix="fetching-") as temporary:
        folder = Path(temporary)
        try:
            made = download(folder, report, deadline)
        except NotReleased as reason:
            report(f"{title}: the official release is not available ({reason}); building it from its Go module")
            made = build(folder, report, deadline)
        made.chmod(0o755)
        made.replace(program)


# --- The official release


def published_checksum(url: str, deadline: Deadline, archive: str = "") -> str:
    """Read a SHA-256 from a release's checksums file: the first, or that of the named archive.

    Raises NotReleased if the file is unreachable or has no such checksum.
    """
    text = _in_background(lambda: _text(url), CONNECT_SECONDS, deadline)
    line = rf"^([0-9a-fA-F]{{64}})\s+\*?{re.escape(archive)}\s*$" if archive else r"\A\s*([0-9a-fA-F]{64})\b"
    found = re.search(line, text, re.MULTILINE)
    if found is None:
        raise NotReleased("its checksum is malformed")
    return found[1].lower()


def download(
    url: str, expected: str, program: Path, title: str, remedy: str, report: Report, deadline: Deadline
) -> None:
    """Download a release archive, compare its SHA-256, and unpack the program.

    The archive has the program under the name of the path `program`.

    Raises NotReleased if the archive is unreachable, BadChecksum if it has another checksum, and
    ChangedRelease if an earlier download had another one.
    """
    report(f"downloading {title}")
    file = program.parent / url.rpartition("/")[2]
    _in_background(lambda: _download(url, file, report), DOWNLOAD_SECONDS, deadline)
    with file.open("rb") as opened:
        actual = hashlib.file_digest(opened, "sha256").hexdigest()
    if actual != expected:
        raise BadChecksum(f"{url} has SHA-256 {actual}, but {expected} is published: not used; {remedy}")
    first_downloads.require_same(cache_folder(), title, url, actual)
    with tarfile.open(file) as contents, program.open("wb") as output:
        packed = contents.extractfile(program.name)
        assert packed is not None, f"the archive's {program.name} is not a regular file"
        shutil.copyfileobj(packed, output)


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
        content: bytes = answer.read(CHECKSUMS_BYTES_MAX)
    return content.decode(errors="replace")


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
