"""Tests of the launcher's preparation of an empty PostgreSQL before sidecars start, on a real
server.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import postgres
from sidecart.launcher.servers.registry import STORES

ROUND = 6
"""Concurrent callers: the apps of a shop and one more."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the module; yield its address."""
    store, processes = STORES["postgres"], Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield store.start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([postgres.NAME], postgres.STOP_SECONDS)


def test_concurrent_preparations_create_the_table_once(address: str) -> None:
    """Concurrent preparations, as by several shops on one server, succeed; without care some of 50
    rounds would fail.
    """
    at_once = Barrier(ROUND)

    def prepare(_: int) -> None:
        at_once.wait()
        postgres.Postgres().prepare(address)

    with psycopg.connect(address, autocommit=True) as connection, ThreadPoolExecutor(ROUND) as pool:
        for _ in range(50):
            connection.execute("DROP TABLE IF EXISTS dapr_metadata")
            list(pool.map(prepare, range(ROUND)))
            connection.execute("INSERT INTO dapr_metadata (key, value) VALUES ('lock', 'lock')")


def test_a_user_without_the_right_to_create_tables_is_reported(address: str) -> None:
    """The launcher reports the missing right before five sidecars fail because of it."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS dapr_metadata")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = "postgres://guest:guest@" + address.rpartition("@")[2]

    with pytest.raises(LaunchError, match="may not create tables"):
        postgres.Postgres().prepare(guest)
