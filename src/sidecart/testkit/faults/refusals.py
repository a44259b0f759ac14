"""Faults of servers that refuse writes: out of memory, read-only, out of disk.

Each function returns its undo.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
import valkey

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import postgres, rabbitmq
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.testkit.faults.injector import Undo

DISK_BYTES = 2**30
BALLAST = "ballast"
NO_ALARM = "0.6"  # RabbitMQ's default, as a share of the machine's memory
SECONDS_MAX = 20


def alarm(system: System, target: str) -> Undo:
    """Take the broker's memory away: RabbitMQ blocks publishers, Valkey refuses writes."""
    if target == rabbitmq.NAME:
        rabbitmq.control(system.data, ("set_vm_memory_high_watermark", "absolute", "1MB"))
        return partial(_end_alarm, system)
    return _configured(system.broker_address, "maxmemory", "1")


def read_only(system: System, target: str) -> Undo:
    """Make the store refuse writes and answer reads, as after a failover to a standby."""
    if target == postgres.NAME:
        _read_only(system.store_address, "on")
        return partial(_read_only, system.store_address, "off")
    return _configured(system.store_address, "min-replicas-to-write", "1")


def _end_alarm(system: System) -> None:
    rabbitmq.control(system.data, ("set_vm_memory_high_watermark", NO_ALARM))


def _read_only(address: str, value: str) -> None:
    """Set PostgreSQL's read-only mode, after waiting for a server that is restarting."""
    end = time.monotonic() + SECONDS_MAX
    while (problem := postgres.Postgres().check(address)) is not None and time.monotonic() < end:
        time.sleep(0.5)
    if problem is not None:
        raise OSError(problem)
    try:
        with psycopg.connect(
            address, connect_timeout=SECONDS_MAX, autocommit=True, options="-c default_transaction_read_only=off"
        ) as connection:
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")
    except psycopg.Error as error:
        raise OSError(f"{postgres.NAME}: {error}") from error


def _configured(address: str, name: str, value: str) -> Undo:
    """Change one of Valkey's settings; the undo restores it."""
    with _client(address) as client:
        settings: Any = client.config_get(name)  # the client's type hints allow a coroutine
        before = settings[name]
        client.config_set(name, value)

    def undo() -> None:
        with _client(address) as client:
            client.config_set(name, before)

    return undo


@contextmanager
def _client(address: str) -> Iterator[valkey.Valkey]:
    url = valkey_server.url(address)
    try:
        with valkey.Valkey.from_url(url, socket_timeout=SECONDS_MAX, decode_responses=True) as client:
            yield client
    except valkey.ValkeyError as error:
        raise OSError(f"{valkey_server.NAME}: {error}") from error


@cache
def no_small_disk() -> str | None:
    """Return the reason why no small disk is available here, or None."""
    try:
        with tempfile.TemporaryDirectory() as name, small_disk(Path(name)):
            return None
    except OSError as error:
        return str(error)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a small file system on a new folder; raise OSError where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "sidecart-faults", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise OSError(f"no small disk: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Undo:
    """Fill the folder's file system to the last byte; the undo frees the space."""
    ballast = folder / BALLAST
    if ballast.exists():  # another server on the same disk: the disk is full already
        return lambda: None
    with ballast.open("wb", buffering=0) as file:
        step = 2**20
        while step >= 512:
            try:
                file.write(bytes(step))
            except OSError:
                step //= 2
    return partial(ballast.unlink, missing_ok=True)
