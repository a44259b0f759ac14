"""Who reads, by what the server says of its groups; a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import valkey as client_of

from cli.catalogue import Subscription
from cli.patience import Patience
from cli.processes import Processes
from cli.servers import valkey
from cli.servers.known import STORES

ONE = Subscription("order", "order", "inbox", "OrderPaymentCreated")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that is ended with the module."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield STORES["redis"].start(processes, tmp_path_factory.mktemp("data"), Patience())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def server(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[client_of.Valkey]:
    """Its client; a group that has asked once, which is long ago at once."""
    monkeypatch.setattr(valkey, "IDLE_MS_MAX", 0)
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        client.flushall()
        client.xgroup_create(ONE.topic, ONE.consumer_id, mkstream=True)
        ask(client)
        yield client


def ask(client: client_of.Valkey) -> None:
    """As a sidecar does; one that has nothing to wait for."""
    client.xreadgroup(ONE.consumer_id, ONE.consumer_id, {ONE.topic: ">"}, count=1)


def is_served(address: str) -> bool:
    """Whether its events are read, by what the launcher finds."""
    return [] == valkey.unserved(address, {ONE: 1})


def test_who_asked_long_ago_and_has_had_nothing_to_do_reads(server: client_of.Valkey, address: str) -> None:
    """A sidecar waits for the answer to its question as long as it takes."""
    assert is_served(address)


def test_who_does_not_ask_for_what_waits_does_not_read(
    server: client_of.Valkey, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has had the time; whoever asked a moment ago may be about to take it."""
    server.xadd(ONE.topic, {"data": "{}"})

    assert not is_served(address)
    monkeypatch.setattr(valkey, "IDLE_MS_MAX", 15_000)
    assert is_served(address)


def test_who_holds_an_event_reads(server: client_of.Valkey, address: str) -> None:
    """Also while more waits: all its workers may wait for a mail server, and then it asks for nothing."""
    for _ in range(2):
        server.xadd(ONE.topic, {"data": "{}"})
    ask(server)

    assert is_served(address)


def test_a_group_or_a_stream_that_is_gone_is_not_read(server: client_of.Valkey, address: str) -> None:
    """Nothing would ever be handed out."""
    server.xgroup_destroy(ONE.topic, ONE.consumer_id)
    assert not is_served(address)
    server.delete(ONE.topic)
    assert not is_served(address)
