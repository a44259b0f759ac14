"""Tests of servers whose state contradicts the components: the start ends within seconds, with the
server's error.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pika
import psycopg
import pytest
import valkey

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import ADMINISTRATOR
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.addresses import with_login, without_password
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.e2e.conftest import broker, options, store

SECONDS_MAX = 150.0
"""Most of it is the start of the healthy processes on a busy machine; the launcher waits three
minutes for an app.
"""

pytestmark = pytest.mark.own_shop


def bounded_queue(address: str) -> None:
    """Declare one of our queues with a maximum length."""
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        connection.channel().queue_declare("user-UserCreateRequested", durable=True, arguments={"x-max-length": 5})


def other_exchange(address: str) -> None:
    """Declare a topic's exchange with another type."""
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        connection.channel().exchange_declare("UserCreateRequested", "direct", durable=True)


def transient_exchange(address: str) -> None:
    """Declare a topic's exchange as not durable."""
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        connection.channel().exchange_declare("OrderNotPaid", "fanout", durable=False)


def other_key(address: str) -> None:
    """Store a string under a topic's key."""
    with valkey.Valkey.from_url(f"redis://{address}") as client:
        client.set("OrderNotPaid", "x")


def other_table(address: str) -> None:
    """Create another program's table under the name of the state table."""
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE state (id int PRIMARY KEY, name text)")
        connection.execute("CREATE TABLE dapr_metadata (key text PRIMARY KEY, value text)")
        connection.execute("INSERT INTO dapr_metadata VALUES ('migrations', '2'), ('migrations-statev2', '2')")


def no_virtual_host(address: str) -> str:
    """Return an address with a virtual host that does not exist."""
    return f"{address.rstrip('/')}/nowhere"


def no_database(address: str) -> str:
    """Return an address with a database that does not exist."""
    return urlsplit(address)._replace(path="/nowhere").geturl()


def no_right(address: str) -> str:
    """Return a login that may not run a command that the sidecar needs."""
    with valkey.Valkey.from_url(f"redis://{address}") as client:
        client.execute_command("ACL", "SETUSER", "weak", "on", ">weak", "~*", "+@all", "-xgroup")
    return with_login(address, "weak", "weak")


def wrong_password(address: str) -> str:
    """Return a login that the server refuses."""
    return with_login(address, ADMINISTRATOR, "wrong")


CASES: dict[str, list[tuple[Callable[[str], str | None], str, str]]] = {
    "rabbitmq": [
        (bounded_queue, "inequivalent arg 'x-max-length' for queue 'user-UserCreateRequested'", "delete the queue"),
        (other_exchange, "inequivalent arg 'type' for exchange 'UserCreateRequested'", "delete the exchange"),
        (transient_exchange, "inequivalent arg 'durable' for exchange 'OrderNotPaid'", "delete the exchange"),
        (no_virtual_host, "vhost nowhere not found", "existing virtual host"),
    ],
    "redis": [
        (other_key, "OrderNotPaid: WRONGTYPE", "delete the key OrderNotPaid"),
        (no_right, "NOPERM", "grant the login"),
        (without_password, "Authentication required", "REDIS_USERNAME and REDIS_PASSWORD"),
        (wrong_password, "invalid username-password pair", "REDIS_USERNAME and REDIS_PASSWORD"),
    ],
    "postgres": [
        (other_table, "SQLSTATE 42703", "set another database"),
        (no_database, 'database "nowhere" does not exist', "a database of that server"),
    ],
}


OF_THIS_RUN = [(kind, *case) for kind, cases in CASES.items() if kind in (broker(), store()) for case in cases]


@pytest.mark.parametrize(
    ("kind", "spoil", "reason", "remedy"), OF_THIS_RUN, ids=lambda each: getattr(each, "__name__", "")
)
def test_a_start_that_cannot_succeed_ends_with_the_reason(
    tmp_path: Path, kind: str, spoil: Callable[[str], str | None], reason: str, remedy: str
) -> None:
    """The error contains the server's message and a remedy."""
    server = BROKERS[kind] if kind in BROKERS else STORES[kind]
    data = tmp_path / "server"
    data.mkdir()
    processes = Processes(tmp_path / "logs")
    try:
        address = server.start(processes, data, Deadline())
        address = spoil(address) or address
        chosen = options(tmp_path / "shop")
        chosen = type(chosen)(
            chosen.broker, chosen.store, folder=chosen.folder, external={**chosen.external, server.env: address}
        )
        started = time.monotonic()
        with pytest.raises(LaunchError) as raised:
            System(chosen, print).__enter__()
        seconds = time.monotonic() - started
    finally:
        for name in reversed(processes.pids()):
            processes.stop([name], server.stop_seconds)
        server.sweep(data)
    print(raised.value)
    assert reason in str(raised.value)
    assert remedy in str(raised.value)
    assert seconds < SECONDS_MAX
