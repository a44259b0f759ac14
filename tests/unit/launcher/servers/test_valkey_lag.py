"""The lag of each group and the length of each stream, on a real server with the page's login."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey as client_of

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.lag import STALLED_SECONDS, ConsumerLag
from sidecart.launcher.servers.valkey_lag import lag, waiting
from sidecart.launcher.topics import MONITOR, subscriptions

TOPIC = "OrderPaid"
NOW_MS = 100_000.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the data folder of the server."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def address(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the module; return its address."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield valkey.Valkey().start(processes, folder, Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def client(address: str) -> Iterator[client_of.Valkey]:
    """A client of the server with one stream of ten entries, one each second."""
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        client.flushall()
        for second in range(1, 11):
            client.xadd(TOPIC, {"data": "{}"}, id=f"{second * 1_000}-0")
        yield client


def test_a_group_lags_by_what_it_has_not_acknowledged(client: client_of.Valkey) -> None:
    """The age is that of the oldest entry which the group still needs."""
    for group in ("behind", "busy", "done"):
        client.xgroup_create(TOPIC, group, id="0")
    client.xreadgroup("behind", "c", {TOPIC: ">"}, count=4)
    client.xack(TOPIC, "behind", *(f"{second * 1_000}-0" for second in range(1, 5)))
    client.xreadgroup("busy", "c", {TOPIC: ">"}, count=10)
    client.xack(TOPIC, "busy", *(f"{second * 1_000}-0" for second in range(1, 10)))
    client.xreadgroup("done", "c", {TOPIC: ">"}, count=10)
    client.xack(TOPIC, "done", *(f"{second * 1_000}-0" for second in range(1, 11)))

    found = lag(client, [TOPIC, "Missing"], NOW_MS)

    assert [
        ConsumerLag(TOPIC, "behind", 6, 0, 95.0, 0),
        ConsumerLag(TOPIC, "busy", 0, 1, 90.0, 1),
        ConsumerLag(TOPIC, "done", 0, 0, 0.0, 0),
    ] == found.consumers
    assert [(TOPIC, 10, 99.0)] == [(each.topic, each.entries, each.oldest_seconds) for each in found.kept]


def test_an_event_that_is_not_acknowledged_for_long_waits(client: client_of.Valkey) -> None:
    """The events of a stopped app wait, though its sidecar has them; a recent one does not."""
    client.xgroup_create(TOPIC, "stopped", id="0")
    client.xreadgroup("stopped", "c", {TOPIC: ">"}, count=8)
    now_ms = 8_000.0 + STALLED_SECONDS * 1_000 - 1

    [found] = lag(client, [TOPIC], now_ms).consumers

    assert (2, 8, 7, 9) == (found.waiting, found.unacknowledged, found.stalled, found.late)
    assert {"stopped": 9} == waiting(client, TOPIC, now_ms)


def test_the_login_of_the_page_may_read_it(client: client_of.Valkey, address: str, folder: Path) -> None:
    """It may count entries, and needs no other right."""
    expected = subscriptions("gateway-0")
    login = valkey.Valkey().address_of(MONITOR, address, folder)

    found = valkey.Valkey().lag(login, expected)
    client.xgroup_create(TOPIC, "notification", id="0")
    client.xreadgroup("notification", "c", {TOPIC: ">"}, count=3)

    assert 10 == sum(valkey.Valkey().waiting(login, expected).values())
    assert [10] == [each.entries for each in found.kept if each.topic == TOPIC]
