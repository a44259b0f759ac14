"""PostgreSQL, as a child process with data in the launcher's folder, or as an external server."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import postgres_files
from sidecart.launcher.servers.postgres_roles import (
    METADATA_TABLE,
    create_roles,
    metadata_table,
    role_statements,
    scram,
)
from sidecart.launcher.servers.server import Server

ENV = "POSTGRES_URL"
NAME = "postgres"
LOGIN = ADMINISTRATOR
START_SECONDS = 60
"""After a crash the server replays its write-ahead log before it serves."""
STOP_SECONDS = 30
LEFTOVER_SECONDS = 5
CONNECTIONS_MAX = 400  # 16 per sidecar, and room for a dozen replicas and other clients
DEBIAN_FOLDER = Path("/usr/lib/postgresql")

CREATED_CONCURRENTLY = (psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation)
"""Raised if another system on an external server creates the table at the same moment."""

NOT_INSTALLED = f"PostgreSQL is not installed: run `make system-deps`, or set {ENV} to a server's URL"
NOT_AS_ROOT = f"PostgreSQL does not run as root, and this machine lacks unshare or setpriv: set {ENV} to a server's URL"

# In a namespace of its own the server does not run as root, and its files still belong to the owner
# of the launcher. The parent-death signal is lost on the way into a namespace, so setpriv requests
# it again.
_IN_NAMESPACE = ["unshare", "-U", "--map-user=1000", "--map-group=1000"]
_DIES_WITH_LAUNCHER = ["setpriv", "--pdeathsig", "KILL"]


class Postgres(Server):
    """A store: the sidecars keep the records in a table."""

    env = ENV
    names = (NAME,)
    ports = (NAME,)
    start_seconds = START_SECONDS
    stop_seconds = STOP_SECONDS

    def unavailable(self) -> str | None:
        """Return why no server is available, or None."""
        if os.environ.get(ENV):
            return None
        if _programs() is None:
            return NOT_INSTALLED
        if os.geteuid() == 0 and not _has_namespaces():
            return NOT_AS_ROOT
        return None

    def launch(self, processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
        """Start a server on a loopback port, and create a missing database; return its URL."""
        del deadline  # this server starts no second process to wait for
        problem, programs = self.unavailable(), _programs()
        if problem is not None or programs is None:
            raise LaunchError(problem or NOT_INSTALLED)
        folder = data / NAME
        folder.mkdir(parents=True, exist_ok=True)
        self.sweep(data)
        if not (folder / "password").exists():
            _create(programs, folder, self.logins(data)[LOGIN])
        port = ports[0]
        command = [
            *(_IN_NAMESPACE + _DIES_WITH_LAUNCHER if os.geteuid() == 0 else []),
            str(programs / "postgres"),
            *("-D", str(folder / "data")),
            *("-p", str(port)),
            *("-c", "listen_addresses=127.0.0.1"),
            *("-c", "unix_socket_directories="),
            *("-c", f"max_connections={CONNECTIONS_MAX}"),
            *("-c", "log_min_messages=warning"),
            *("-c", "log_error_verbosity=terse"),  # no DETAIL: it quotes keys, and so addresses
        ]
        # SIGTERM would wait until every client has left; SIGINT closes their connections and loses
        # no data.
        env = plain_environment() | {"LC_ALL": "C"}
        processes.start(NAME, command, env=env, cwd=folder, stop_signal=signal.SIGINT)
        return f"postgres://{LOGIN}:{(folder / 'password').read_text()}@127.0.0.1:{port}/postgres?sslmode=disable"

    def sweep(self, data: Path) -> None:
        """Kill the remaining processes of a killed server.

        One may wait forever for another that died with a lock. A new server does not start while
        they run. They all run in their data folder, and no other process does.
        """
        for process in psutil.process_iter():
            try:
                if process.name() == NAME and process.cwd() == str(data.resolve() / NAME / "data"):
                    process.kill()
                    process.wait(LEFTOVER_SECONDS)
            except (psutil.Error, OSError):  # it has ended in the meantime, or another login owns it
                continue

    def check(self, address: str) -> str | None:
        """Return why the server at a URL cannot be used, or None."""
        try:
            with psycopg.connect(address, connect_timeout=3) as connection:
                connection.execute("SELECT 1")
        except psycopg.Error as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return f"{ENV}: {lines[-1]}"
        return None

    def admit(self, address: str, data: Path) -> None:
        """Create the roles of the apps, in one transaction."""
        with psycopg.connect(address, connect_timeout=3) as connection:
            create_roles(connection, self.logins(data), [each.app_id for each in permissions()])

    def login_commands(self, logins: Mapping[str, str], address: str) -> str:
        """Return statements for psql, as an administrator of the database."""
        del address  # psql connects to the database
        return "".join(
            f"{statement.as_string()};\n"
            for each in permissions()
            for statement in (*role_statements(each.app_id, scram(logins[each.app_id])), metadata_table(each.app_id))
        )

    def prepare(self, address: str) -> None:
        """Create the table that every sidecar creates first; raise LaunchError if that fails.

        When two sidecars create it at the same moment, one gets "type already exists" (42710). This
        is fatal for daprd, which retries only after a unique violation (23505). The code is
        EnsureMetadataTable in common/component/sql/migrations/postgres of components-contrib
        1.18.3. daprd's later steps run under a lock in this table.
        """
        with suppress(*CREATED_CONCURRENTLY):
            try:
                with psycopg.connect(address, connect_timeout=3) as connection:
                    connection.execute(METADATA_TABLE.format(""))
            except psycopg.errors.InsufficientPrivilege as error:
                raise LaunchError(f"{ENV}: its login may not create tables: {error}") from error

    def drop_removed_bytes(self, address: str, deadline: Deadline, restart: Callable[[], None]) -> None:
        """Rewrite the tables, the statistics and the write-ahead log."""
        del deadline, restart
        with _administering(address) as connection:
            postgres_files.drop_removed_bytes(connection)

    def contents(self, address: str) -> Iterator[tuple[str, bytes]]:
        """Yield each table."""
        with _administering(address) as connection:
            yield from postgres_files.contents(connection)


@contextmanager
def _administering(address: str) -> Iterator[psycopg.Connection]:
    """Connect without a transaction; an error of the server inside is an OSError outside.

    It does not quote the statement, and so no value.
    """
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=3) as connection:
            yield connection
    except psycopg.Error as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise OSError(f"{ENV}: {lines[0]}") from error


def _create(programs: Path, folder: Path, password: str) -> None:
    """Create the database.

    Its password file is written last, so that an incomplete database is never used.
    """
    shutil.rmtree(folder / "data", ignore_errors=True)
    new = folder / "password.new"
    new.touch(mode=0o600)
    new.write_text(password, encoding="utf-8")
    command = [
        *(_IN_NAMESPACE if os.geteuid() == 0 else []),
        str(programs / "initdb"),
        *("-D", str(folder / "data")),
        *("-U", LOGIN),
        *("--auth", "scram-sha-256"),
        *("--pwfile", str(new)),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
    ]
    # A session of its own, here and below: Ctrl-C in a terminal reaches only the launcher, which
    # stops between two steps.
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
        raise LaunchError(f"the database in {folder} could not be created: {lines[-1]}")
    new.replace(folder / "password")


def _programs() -> Path | None:
    """The folder of the newest installed server."""
    on_path = shutil.which("postgres")
    if on_path is not None and (Path(on_path).resolve().parent / "initdb").exists():
        return Path(on_path).resolve().parent
    found = [each.parent for each in DEBIAN_FOLDER.glob("*/bin/postgres") if each.parent.parent.name.isdecimal()]
    return max(found, key=lambda folder: int(folder.parent.name), default=None)


def _has_namespaces() -> bool:
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    probed = subprocess.run([*_IN_NAMESPACE, "true"], capture_output=True, check=False, start_new_session=True)
    return probed.returncode == 0
