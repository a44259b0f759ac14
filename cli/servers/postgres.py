"""PostgreSQL: an installed server as our own child with its data in the shop's folder, or the one that was given."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg

from cli.deadline import Deadline
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.processes import Processes

ENV = "POSTGRES_URL"
NAME = "postgres"
USER = "sidecart"
START_SECONDS = 60
"""After a crash it reads its log back before it serves."""
STOP_SECONDS = 30
LEFTOVER_SECONDS = 5
CONNECTIONS_MAX = 400  # 16 of each sidecar, and room for a dozen replicas and whoever looks
DEBIAN_FOLDER = Path("/usr/lib/postgresql")

METADATA_TABLE = "CREATE TABLE IF NOT EXISTS dapr_metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
"""As daprd makes it, under its default name."""
MADE_MEANWHILE = (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation)
"""By another shop on a server that was given."""

NOT_INSTALLED = f"PostgreSQL is not installed: run `make system-deps`, or set {ENV} to a server's URL"
NOT_AS_ROOT = f"PostgreSQL does not run as root, and this machine has no user namespaces: set {ENV} to a server's URL"

# To the server root is then somebody else, and its files are still the shop's own. The signal that ends it with the
# launcher is lost on the way into a namespace, so it is asked for again.
_AS_SOMEBODY = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
_WITH_THE_LAUNCHER = ["setpriv", "--pdeathsig", "KILL"]


def unavailable() -> str | None:
    """Say why no server can be had here, or None."""
    if os.environ.get(ENV):
        return None
    if _programs() is None:
        return NOT_INSTALLED
    if os.geteuid() == 0 and not _can_be_somebody():
        return NOT_AS_ROOT
    return None


def launch(processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
    """Start a server on a loopback port, with a new database if there is none, and return its URL."""
    del deadline  # it takes no second process that would have to be waited for
    problem, programs = unavailable(), _programs()
    if problem is not None or programs is None:
        raise LaunchError(problem or NOT_INSTALLED)
    folder = data / NAME
    folder.mkdir(parents=True, exist_ok=True)
    sweep(data)
    if not (folder / "password").exists():
        _make(programs, folder)
    port = ports[0]
    command = [
        *(_AS_SOMEBODY + _WITH_THE_LAUNCHER if os.geteuid() == 0 else []),
        str(programs / "postgres"),
        *("-D", str(folder / "data")),
        *("-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1"),
        *("-c", "unix_socket_directories="),
        *("-c", f"max_connections={CONNECTIONS_MAX}"),
        *("-c", "log_min_messages=warning"),
    ]
    # SIGTERM would wait until every client has left; SIGINT ends their connections and loses nothing.
    env = plain_environment() | {"LC_ALL": "C"}
    processes.start(NAME, command, env=env, cwd=folder, stop_signal=signal.SIGINT)
    return f"postgres://{USER}:{(folder / 'password').read_text()}@127.0.0.1:{port}/postgres?sslmode=disable"


def sweep(data: Path) -> None:
    """End what a killed server left: one of its processes may wait for ever for another one that died with a lock.

    A new server does not start beside it. All of them run in the folder of their data, and nobody else does.
    """
    for process in psutil.process_iter():
        try:
            if process.name() == NAME and process.cwd() == str(data.resolve() / NAME / "data"):
                process.kill()
                process.wait(LEFTOVER_SECONDS)
        except (psutil.Error, OSError):  # it ended meanwhile, or is somebody else's
            continue


def check(address: str) -> str | None:
    """Say why the server at a URL cannot be used, or None."""
    try:
        with psycopg.connect(address, connect_timeout=3) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"{ENV}: {lines[-1]}"
    return None


def prepare(address: str) -> None:
    """Make the table that every sidecar makes first, if it is not there; raise LaunchError if that cannot be done.

    Two sidecars that make it at the same moment are told "type already exists" (42710), which daprd takes for the end:
    it tries again after a unique violation (23505) only (EnsureMetadataTable, common/component/sql/migrations/postgres
    of components-contrib 1.18.3). What follows in daprd is done under a lock that this table holds.
    """
    with suppress(*MADE_MEANWHILE):
        try:
            with psycopg.connect(address, connect_timeout=3) as connection:
                connection.execute(METADATA_TABLE)
        except psycopg.errors.InsufficientPrivilege as error:
            raise LaunchError(f"{ENV}: its user may not make tables: {error}") from error


def state_bytes(address: str) -> int:
    """How much disk the records take, with their indexes and what is not cleaned up yet."""
    with psycopg.connect(address, connect_timeout=3) as connection:
        row = connection.execute("SELECT pg_total_relation_size('state')").fetchone()
    return int(row[0]) if row else 0


def _make(programs: Path, folder: Path) -> None:
    """Make the database; its password is written last, so half of one is never taken for whole."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    password = secrets.token_urlsafe(24)
    new = folder / "password.new"
    new.touch(mode=0o600)
    new.write_text(password, encoding="utf-8")
    command = [
        *(_AS_SOMEBODY if os.geteuid() == 0 else []),
        str(programs / "initdb"),
        *("-D", str(folder / "data")),
        *("-U", USER),
        *("--auth", "scram-sha-256"),
        *("--pwfile", str(new)),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
    ]
    # A session of its own, here and below: Ctrl-C in a terminal reaches the launcher only, which asks when it may stop.
    made = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=plain_environment(),
        cwd=folder,
        check=False,
        start_new_session=True,
    )
    if made.returncode != 0:
        lines = (made.stderr or made.stdout).strip().splitlines() or ["no reason given"]
        raise LaunchError(f"the database in {folder} could not be made: {lines[-1]}")
    new.replace(folder / "password")


def _programs() -> Path | None:
    """The folder of the newest installed server."""
    on_path = shutil.which("postgres")
    if on_path is not None and (Path(on_path).resolve().parent / "initdb").exists():
        return Path(on_path).resolve().parent
    found = [each.parent for each in DEBIAN_FOLDER.glob("*/bin/postgres") if each.parent.parent.name.isdecimal()]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def _can_be_somebody() -> bool:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    probed = subprocess.run([*_AS_SOMEBODY, "true"], capture_output=True, check=False, start_new_session=True)
    return probed.returncode == 0
