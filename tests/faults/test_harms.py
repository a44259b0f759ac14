"""Tests of each fault on a real server: its effect and its undo, on the servers in BROKER and
STORE.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pika
import pika.exceptions
import psycopg
import pytest
import valkey

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.server import Server
from sidecart.testkit.faults import refusals
from sidecart.testkit.faults.rollback import roll_back

BROKER, STORE = os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis")
SECONDS_MAX = 30.0
REFUSED_SECONDS = 1.0


@dataclass(frozen=True)
class Servers:
    """The parts of a shop that a fault needs."""

    data: Path
    server: Server
    started: Processes
    broker_address: str

    @property
    def store_address(self) -> str:
        """The address of the store; the one server serves as broker and store."""
        return self.broker_address

    @property
    def shop(self) -> System:
        """The servers in the type that the faults take."""
        return cast(System, self)

    def can_write(self) -> bool:
        """Return whether the server accepts a write; False if it refuses or blocks too long."""
        answers: list[bool] = []
        thread = threading.Thread(target=lambda: answers.append(self._writes()), daemon=True)
        thread.start()
        thread.join(REFUSED_SECONDS)
        return answers == [True]

    def _writes(self) -> bool:
        with suppress(valkey.ValkeyError, psycopg.Error, pika.exceptions.AMQPError, OSError):
            match self.server.names[0]:
                case "valkey":
                    self.client().incrby("written")
                case "postgres":
                    with psycopg.connect(self.broker_address) as connection:
                        connection.execute("CREATE TABLE IF NOT EXISTS written (text text)")
                        connection.execute("INSERT INTO written VALUES ('once')")
                case "rabbitmq":
                    self._publish()
            return True
        return False

    def _publish(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self.broker_address)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("written", durable=True)
            channel.basic_publish("", "written", b"once")

    def client(self) -> valkey.Valkey:
        """Return a client of Valkey."""
        return valkey.Valkey.from_url(f"redis://{self.broker_address}", socket_timeout=SECONDS_MAX)

    def wait_for(self, can: bool) -> None:
        """Wait until the server accepts writes, or refuses them."""
        end = time.monotonic() + SECONDS_MAX
        while self.can_write() != can:
            assert time.monotonic() < end, f"{self.server.names[0]}: writing is not {can} within {SECONDS_MAX} s"


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    """End all processes with the module."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, stack: ExitStack) -> dict[str, Servers]:
    """Start the broker and the store, on a small disk if available; return them by kind."""
    found: dict[str, Servers] = {}
    for kind, server in (("broker", BROKERS[BROKER]), ("store", STORES[STORE])):
        same = next((each for each in found.values() if each.server is server), None)
        if same is not None:
            found[kind] = same
            continue
        data = tmp_path_factory.mktemp(kind) / "data"
        data.mkdir()
        if refusals.no_small_disk() is None:
            stack.enter_context(refusals.small_disk(data))
        processes = Processes(data.parent / "logs")
        stack.callback(lambda each=server, by=processes: by.stop(each.names, each.stop_seconds))  # type: ignore[misc]  # bound now
        found[kind] = Servers(data, server, processes, server.start(processes, data, Deadline()))
    return found


def test_a_broker_without_memory_accepts_nothing_until_it_has_some(running: dict[str, Servers]) -> None:
    """The broker refuses writes or blocks publishers until the undo."""
    broker = running["broker"]
    broker.wait_for(can=True)

    undo = refusals.alarm(broker.shop, broker.server.names[0])

    broker.wait_for(can=False)
    undo()
    broker.wait_for(can=True)


def test_a_read_only_store_refuses_writes_until_the_undo(running: dict[str, Servers]) -> None:
    """The store refuses writes on open connections, too, and still answers reads."""
    store = running["store"]
    store.wait_for(can=True)

    undo = refusals.read_only(store.shop, store.server.names[0])

    store.wait_for(can=False)
    assert store.server.check(store.store_address) is None  # reads still work
    undo()
    store.wait_for(can=True)


if BROKER == "redis":  # only Valkey supports the rollback

    def test_valkey_forgets_its_last_second_and_nothing_before(running: dict[str, Servers]) -> None:
        """A write in the last second before the kill is missing after the next start; earlier
        writes remain.
        """
        broker = running["broker"]
        client = broker.client()
        client.set("early", 1)
        pid = broker.started.pids()["valkey"]
        late = threading.Timer(0.4, lambda: client.set("late", 1))
        late.start()

        lost = roll_back(broker.data, lambda number: os.kill(pid, number))

        late.join()
        assert lost > 0
        broker.started.stop(["valkey"], SECONDS_MAX)
        port = int(broker.broker_address.rpartition(":")[2])
        broker.server.start(broker.started, broker.data, Deadline(), {broker.server.ports[0]: port})
        again = broker.client()
        assert (1, 0) == (again.exists("early"), again.exists("late"))


if refusals.no_small_disk() is None:

    @pytest.mark.parametrize("kind", ["broker", "store"])
    def test_a_full_disk_has_no_free_block_until_the_undo(running: dict[str, Servers], kind: str) -> None:
        """After the undo the server accepts writes, whether it refused, blocked or restarted."""
        found = running[kind]
        found.wait_for(can=True)

        undo = refusals.fill(found.data)

        assert os.statvfs(found.data).f_bavail == 0
        undo()
        assert os.statvfs(found.data).f_bavail > 0
        found.wait_for(can=True)


def test_signals_of_a_rollback_are_stop_then_kill(tmp_path: Path) -> None:
    """The file is truncated between the two signals."""
    folder = tmp_path / "valkey" / "appendonlydir"
    folder.mkdir(parents=True)
    newest = folder / "appendonly.aof.10.incr.aof"
    (folder / "appendonly.aof.9.incr.aof").write_bytes(b"old")
    newest.write_bytes(b"before")
    sent: list[tuple[signal.Signals, bytes]] = []

    def append() -> None:
        with newest.open("ab") as file:
            file.write(b" after")

    threading.Timer(0.3, append).start()
    lost = roll_back(tmp_path, lambda number: sent.append((number, newest.read_bytes())))

    assert (len(b" after"), [(signal.SIGSTOP, b"before after"), (signal.SIGKILL, b"before")]) == (lost, sent)
