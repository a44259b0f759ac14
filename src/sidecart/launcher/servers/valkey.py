"""The Redis-compatible server: a child process with an embedded Valkey, or an external server.

The child process has its data in the launcher's folder.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import valkey

from sidecart.chassis.settings import text
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import ADMINISTRATOR, Permissions, permissions, trimmer
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import valkey_files, valkey_lag
from sidecart.launcher.servers.addresses import host_and_port, login_of, with_login, without_password
from sidecart.launcher.servers.lag import BrokerLag
from sidecart.launcher.servers.logins import write_private
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.servers.valkey_acl import acl_file, hashed, rule, words_of
from sidecart.launcher.servers.valkey_groups import are_abandoned, is_read, names_of, remove
from sidecart.launcher.servers.valkey_memory import memory_mb, warning
from sidecart.launcher.servers.valkey_program import program
from sidecart.launcher.topics import Subscription

ENV = "REDIS_HOST"
USERNAME = "REDIS_USERNAME"
PASSWORD = "REDIS_PASSWORD"
NAME = "valkey"
ACL_FILE = "logins.acl"
START_SECONDS = 60
"""The server loads a large append-only file before it serves."""
STOP_SECONDS = 20
CALL_SECONDS_MAX = 2.0


class Valkey(Broker):
    """A broker and a store: streams carry the events, hashes are the records."""

    env = ENV
    names = (NAME,)
    ports = (NAME,)
    trimmer_module = "sidecart.launcher.servers.trimmer"
    start_seconds = START_SECONDS
    stop_seconds = STOP_SECONDS

    def unavailable(self) -> str | None:
        """Return why no server is available, or None."""
        try:
            if not os.environ.get(ENV):
                program()
        except LaunchError as error:
            return str(error)
        return None

    def launch(self, processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
        """Start a server on a loopback port and return its host:port."""
        del deadline  # this server starts no second process to wait for
        folder = data / NAME
        logins = self.logins(data)
        # A file: command lines are visible to all programs of the machine.
        write_private(folder / ACL_FILE, acl_file(hashed(logins), _permissions()))
        command = [
            str(program()),
            *("--aclfile", str(folder / ACL_FILE)),
            *("--bind", "127.0.0.1"),
            *("--port", str(ports[0])),
            *("--dir", str(folder)),
            # The server appends every write to the file before it answers, and syncs the file
            # once a second. Killing the server loses nothing; a power cut may lose a second
            # (appendfsync always avoids that, at the cost of an fsync per write).
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec"),
            *("--save", ""),
            # A full server refuses writes; with another policy it would delete records and events.
            *("--maxmemory", f"{memory_mb()}mb"),
            *("--maxmemory-policy", "noeviction"),
            *("--daemonize", "no"),
            *("--loglevel", "warning"),
        ]
        processes.start(NAME, command, env=plain_environment(), cwd=folder)
        return with_login(f"127.0.0.1:{ports[0]}", ADMINISTRATOR, logins[ADMINISTRATOR])

    def variables(self, address: str) -> dict[str, str]:
        """Return the address without its login, which has variables of its own."""
        name, password = login_of(address)
        return {ENV: without_password(address), USERNAME: name, PASSWORD: password}

    def address_from(self, environ: Mapping[str, str]) -> str:
        """Return the address with its login."""
        return with_login(*(text(environ, name) for name in (ENV, USERNAME, PASSWORD)))

    def check(self, address: str) -> str | None:
        """Return why the server at host:port cannot be used, or None."""
        try:
            with _client(address) as client:
                client.ping()
        except valkey.ValkeyError as error:
            return f"{ENV}={without_password(address)}: {error}"
        return None

    def warning(self, address: str) -> str | None:
        """Return a warning if little memory is left, or None."""
        try:
            with _client(address) as client:
                memory: Any = client.info("memory")  # the stub allows a coroutine
        except valkey.ValkeyError:  # `check` reports an unreachable server
            return None
        return warning(memory)

    def logins(self, data: Path) -> dict[str, str]:
        """Return the passwords of the logins, with that of the trimmer."""
        return self.passwords(data, (ADMINISTRATOR, *(each.app_id for each in _permissions())))

    def login_commands(self, logins: Mapping[str, str], address: str) -> str:
        """Return commands for redis-cli; they need Valkey or Redis 7."""
        del address  # the rules name no server
        passwords = hashed(logins)
        rules = [(each.app_id, words_of(rule(each, passwords[each.app_id]))) for each in _permissions()]
        lines = [" ".join(["ACL SETUSER", app_id, *map(_quoted, words)]) for app_id, words in rules]
        return "\n".join(("# redis-cli: then `ACL SAVE`, or `CONFIG REWRITE` without an ACL file", *lines)) + "\n"

    def missing(self, address: str, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions without a consumer group on their topic's stream."""
        with _client(address) as client:
            known = {topic: names_of(client, topic) for topic in {one.topic for one in expected}}
        return [one for one in expected if one.consumer_id not in known[one.topic]]

    def unread(self, address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with waiting events that no consumer reads.

        Replicas share one consumer, so they are not counted. A subscription without events is not
        included: its sidecar's pending read may take as long as it likes.
        """
        with connection(address) as client:
            return [one for one in expected if not is_read(client, one)]

    def remove(self, address: str, gone: Sequence[Subscription]) -> int:
        """Delete the groups of removed consumers, and the streams that only they read."""
        with connection(address) as client:
            return sum(remove(client, one) for one in gone)

    def is_abandoned(
        self,
        address: str,
        some: Sequence[Subscription],
        every: Sequence[Subscription],
        read: Sequence[Subscription],
    ) -> bool:
        """Return whether the server has a group of `some`, and none of `every` has read for a
        minute.

        A consumer of `read` has read meanwhile, so the server and the sidecars work.
        """
        with connection(address) as client:
            return are_abandoned(client, some, every, read)

    def skip_backlog(self, address: str, new: Sequence[Subscription]) -> None:
        """Make these consumers start with the next event; no consumer may read in the meantime."""
        self.remove(address, new)  # also deletes the unacknowledged events of a killed consumer
        with connection(address) as client:
            for one in new:
                client.xgroup_create(one.topic, one.consumer_id, id="$", mkstream=True)

    def waiting(self, address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
        """Return the number of waiting events per subscription."""
        with connection(address) as client:
            now_ms = time.time() * 1_000
            found = {topic: valkey_lag.waiting(client, topic, now_ms) for topic in {one.topic for one in expected}}
        return {one: found[one.topic].get(one.consumer_id, 0) for one in expected}

    def lag(self, address: str, expected: Sequence[Subscription]) -> BrokerLag:
        """Return the lag of every group of these streams, and the length of each stream."""
        with connection(address) as client:
            return valkey_lag.lag(client, dict.fromkeys(one.topic for one in expected), time.time() * 1_000)

    def drop_removed_bytes(self, address: str, deadline: Deadline, restart: Callable[[], None]) -> None:
        """Rewrite the append-only file, and clear the slow log."""
        del restart
        with connection(address, valkey_files.CALL_SECONDS_MAX) as client:
            valkey_files.drop_removed_bytes(client, deadline)

    def contents(self, address: str) -> Iterator[tuple[str, bytes]]:
        """Yield each key: the server compresses texts in its file."""
        with connection(address, valkey_files.CALL_SECONDS_MAX) as client:
            yield from valkey_files.contents(client)


def address_in(environ: Mapping[str, str]) -> str:
    """Return the address in these variables, with its login if there is a password.

    Raises SettingError without an address.
    """
    address, password = text(environ, ENV), environ.get(PASSWORD, "")
    return with_login(address, environ.get(USERNAME, ""), password) if password else address


def url(address: str) -> str:
    """Return the URL of a server, as clients take it."""
    host_and_port(ENV, without_password(address))
    return f"redis://{address}"


def settings(address: str) -> dict[str, str]:
    """Return the server's own configuration; empty if the server does not reveal it."""
    with connection(address) as client:
        try:
            found: Any = client.config_get("*")  # the stub allows a coroutine
        except valkey.ResponseError:  # a hosted server does not allow CONFIG
            return {}
        return {str(name): str(value) for name, value in found.items()}


@contextmanager
def connection(address: str, seconds: float = CALL_SECONDS_MAX) -> Iterator[valkey.Valkey]:
    """Connect for the block; an error of the server inside is an OSError outside."""
    try:
        with _client(address, seconds) as client:
            yield client
    except valkey.ValkeyError as error:
        raise OSError(f"{ENV}={without_password(address)}: {error}") from error


def _permissions() -> list[Permissions]:
    return [*permissions(), trimmer()]


def _client(address: str, seconds: float = CALL_SECONDS_MAX) -> valkey.Valkey:
    return valkey.Valkey.from_url(url(address), socket_timeout=seconds, socket_connect_timeout=CALL_SECONDS_MAX)


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
