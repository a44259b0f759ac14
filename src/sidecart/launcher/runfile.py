"""The running system's lock and description, for `status`, `logs` and `stop`.

The launcher holds the lock, and writes the description to a file.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.project import home

LOCAL, EXTERNAL, OFF = "local", "external", "off"
"""The issuer of the callers' tokens; off: the gateway trusts each body."""
LOCK = "lock"
FILE = "run.json"


def run_folder() -> Path:
    """Return the folder of the lock and the description."""
    return home() / "run"


@dataclass(frozen=True, slots=True)
class RunFile:
    """A running system: its launcher, and once it is ready its processes, ports and addresses."""

    launcher: int
    broker: str
    store: str
    ready: bool = False
    url: str = ""
    mail_url: str = ""
    monitor_url: str = ""
    processes: dict[str, int] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    """Maps each app's replica and each sidecar to its token."""
    auth: str = LOCAL
    """Who issues the tokens of the callers."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Maps the address variable of each server to its address with the administrator's login."""
    components: str = ""
    """The folder of components that replaces broker and store."""
    resources: dict[str, list[str]] = field(default_factory=dict)
    """Maps a sidecar to its resource folders. The live page's has neither store nor policy."""

    @property
    def servers(self) -> str:
        """The servers in words."""
        return f"the servers of {self.components}" if self.components else f"{self.broker} and {self.store}"

    def write(self, folder: Path | None = None) -> None:
        """Replace the file atomically.

        Only its owner may read it, because it holds tokens and logins.
        """
        folder = folder or run_folder()
        new = folder / f"{FILE}.new"
        new.touch(mode=0o600)
        new.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        new.replace(folder / FILE)


def read(folder: Path | None = None) -> RunFile | None:
    """Return the running system, or None. A file that a killed launcher left does not count."""
    folder = folder or run_folder()
    if not is_locked(folder):
        return None
    try:
        return RunFile(**json.loads((folder / FILE).read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        # the launcher has the lock, but has not written the file yet or has just deleted it
        return None


def is_locked(folder: Path | None = None) -> bool:
    """Whether a launcher holds the lock."""
    path = (folder or run_folder()) / LOCK
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextlib.contextmanager
def held(starting: RunFile, folder: Path | None = None) -> Iterator[None]:
    """Become the only launcher of this folder, and describe what it starts, or raise LaunchError.

    The lock ends with the process, even on a crash.
    """
    folder = folder or run_folder()
    keep_private(folder)
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LaunchError(
                "a system is already running: ./sidecart status shows it, ./sidecart stop stops it"
            ) from None
        starting.write(folder)
        try:
            yield
        finally:
            (folder / FILE).unlink(missing_ok=True)
