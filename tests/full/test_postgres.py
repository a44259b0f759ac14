"""What the launcher makes on an empty PostgreSQL before sidecars start; a real server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import psycopg
import pytest

from cli.deadline import Deadline
from cli.errors import LaunchError
from cli.processes import Processes
from cli.servers import postgres
from cli.servers.registry import STORES

ROUND = 6
"""How many at the same moment: the apps of a shop and one more."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that is ended with the module."""
    store, processes = STORES["postgres"], Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield store.start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([postgres.NAME], postgres.STOP_SECONDS)


def test_the_table_that_every_sidecar_makes_first_is_made_once(address: str) -> None:
    """By several at the same moment, as shops on one server; in 50 rounds some of them trip over each other."""
    at_once = Barrier(ROUND)

    def prepare(_: int) -> None:
        at_once.wait()
        postgres.prepare(address)

    with psycopg.connect(address, autocommit=True) as connection, ThreadPoolExecutor(ROUND) as pool:
        for _ in range(50):
            connection.execute("DROP TABLE IF EXISTS dapr_metadata")
            list(pool.map(prepare, range(ROUND)))
            connection.execute("INSERT INTO dapr_metadata (key, value) VALUES ('lock', 'lock')")


def test_a_user_who_may_not_make_tables_is_named(address: str) -> None:
    """Before five sidecars fail by it."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS dapr_metadata")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = "postgres://guest:guest@" + address.rpartition("@")[2]

    with pytest.raises(LaunchError, match="may not create tables"):
        postgres.prepare(guest)
