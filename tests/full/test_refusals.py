"""Refused writes of real servers behind a real sidecar: each is reported as a refusal, never as a
lost race.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import valkey

from sidecart.chassis.errors import Conflict, WriteRefused
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import postgres as postgres_server
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.servers.registry import STORES
from tests.full import real_sidecar

Refuse = Callable[[str, Path], None]


def noreplicas(address: str, _: Path) -> None:
    """Require more replicas than the server has."""
    valkey.Valkey.from_url(f"redis://{address}").config_set("min-replicas-to-write", 1)


def out_of_memory(address: str, _: Path) -> None:
    """Leave no memory, and allow no eviction."""
    server = valkey.Valkey.from_url(f"redis://{address}")
    server.config_set("maxmemory-policy", "noeviction")
    server.config_set("maxmemory", 1)


def replica(address: str, _: Path) -> None:
    """Make the server a replica of an unreachable server."""
    valkey.Valkey.from_url(f"redis://{address}").replicaof("127.0.0.1", "1")


def unwritable(address: str, _: Path) -> None:
    """Make snapshots fail, with a folder in place of the snapshot file."""
    server: Any = valkey.Valkey.from_url(f"redis://{address}")
    (Path(server.config_get("dir")["dir"]) / server.config_get("dbfilename")["dbfilename"]).mkdir()
    server.config_set("save", "1 1")
    server.bgsave()
    Deadline().until(lambda: server.info()["rdb_last_bgsave_status"] == "err", 20, lambda: "the snapshot was written")


def read_only(address: str, _: Path) -> None:
    """Make transactions read-only, as on a standby."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        connection.execute("SELECT pg_reload_conf()")
    Deadline().until(lambda: _reads_only(address), 20, lambda: "the setting is not in force")


def _reads_only(address: str) -> bool:
    with psycopg.connect(address) as connection:
        return connection.execute("SHOW transaction_read_only").fetchone() == ("on",)


def not_allowed(address: str, _: Path) -> None:
    """Let a trigger raise the error of a missing privilege, because the test's own role has every
    privilege.
    """
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS "
            "$$BEGIN RAISE EXCEPTION 'permission denied' USING ERRCODE = '42501'; END$$"
        )
        connection.execute("CREATE TRIGGER no BEFORE INSERT OR UPDATE ON state EXECUTE FUNCTION no()")


WAYS: list[tuple[str, Refuse, str]] = [
    ("redis", noreplicas, "NOREPLICAS"),
    ("redis", out_of_memory, "OOM"),
    ("redis", replica, "READONLY"),
    ("redis", unwritable, "MISCONF"),
    ("postgres", read_only, "25006"),
    ("postgres", not_allowed, "42501"),
]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Return the processes of one test, and stop them after it."""
    running = Processes(tmp_path / "logs")
    try:
        yield running
    finally:
        running.stop([real_sidecar.NAME], real_sidecar.STOP_SECONDS_MAX)
        running.stop([valkey_server.NAME, postgres_server.NAME], postgres_server.STOP_SECONDS)


@pytest.mark.parametrize("api", ["http", "grpc"])
@pytest.mark.parametrize(("store", "refuse", "reason"), WAYS, ids=[refuse.__name__ for _, refuse, _ in WAYS])
def test_a_refusal_differs_from_a_lost_race(
    store: str, refuse: Refuse, reason: str, api: str, processes: Processes, tmp_path: Path
) -> None:
    """Refused updates and inserts raise WriteRefused; the problem is the server's reason, without a
    key.
    """
    address = STORES[store].start(processes, tmp_path / "data", Deadline())
    ports = real_sidecar.new_ports()
    real_sidecar.start(processes, ports, store, address)

    async def scenario(sidecar: Sidecar) -> None:
        await real_sidecar.until_ready(sidecar)
        await sidecar.save("person:ada", b"1", None)
        _, etag = await sidecar.load("person:ada")
        with pytest.raises(Conflict):
            await sidecar.save("person:ada", b"2", None)
        await asyncio.to_thread(refuse, address, tmp_path)
        for key, held in (("person:ada", etag), ("person:bob", None)):
            sidecar.store.written()  # forget the problem of the key before
            with pytest.raises(WriteRefused):
                await sidecar.save(key, b"2", held)
            assert reason in sidecar.store.problem
            assert "person" not in sidecar.store.problem
        assert (b"1", etag) == await sidecar.load("person:ada")

    async def run() -> None:
        grpc_port = ports.grpc_port if api == "grpc" else None
        async with connect(ports.http_port, "", dapr_grpc_port=grpc_port) as sidecar:
            await scenario(sidecar)

    asyncio.run(run())
