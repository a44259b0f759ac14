"""Who reads, by what the server says of its groups; a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import valkey as client_of

from cli.deadline import Deadline
from cli.processes import Processes
from cli.servers import valkey
from cli.servers.registry import STORES
from cli.topics import Subscription

ONE = Subscription("order", "order", "inbox", "OrderPaymentCreated")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server listens that is ended with the module."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield STORES["redis"].start(processes, tmp_path_factory.mktemp("data"), Deadline())
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
    return [] == valkey.unread(address, {ONE: 1})


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


NEW = Subscription("monitor", "monitor", "inbox", ONE.topic)


def given(client: client_of.Valkey, group: str) -> list[bytes]:
    """What a consumer of a group is given now: new events, and then what it was given before."""
    found: list[bytes] = []
    for place in (">", "0"):
        entries: Any = client.xreadgroup(group, group, {ONE.topic: place}, count=10)
        found += [fields[b"data"] for _, some in entries for _, fields in some]
    return found


def test_who_begins_sees_only_what_comes_after(server: client_of.Valkey, address: str) -> None:
    """A group starts at the beginning otherwise: the whole stream would pass once more."""
    server.xadd(ONE.topic, {"data": "before"})
    valkey.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "after"})

    assert 1 == valkey.undelivered(address, [NEW])[NEW]
    assert b"after" in given(server, "monitor")
    assert b"before" not in given(server, "monitor")


def test_who_begins_again_is_not_given_what_the_killed_one_held(server: client_of.Valkey, address: str) -> None:
    """It was handed out and never acknowledged."""
    valkey.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "held"})
    assert b"held" in given(server, "monitor")
    valkey.skip_backlog(address, [NEW])

    assert ([], 0) == (given(server, "monitor"), valkey.undelivered(address, [NEW])[NEW])


def test_who_is_forgotten_leaves_the_others_alone(server: client_of.Valkey, address: str) -> None:
    """Their group stays where it was."""
    server.xadd(ONE.topic, {"data": "{}"})
    valkey.skip_backlog(address, [NEW])
    before: Any = server.xinfo_groups(ONE.topic)

    assert (1, 0) == (valkey.remove(address, [NEW]), valkey.remove(address, [NEW]))
    assert [each for each in before if each["name"] == b"order"] == server.xinfo_groups(ONE.topic)
    assert {NEW: 0, ONE: 1} == valkey.undelivered(address, [NEW, ONE])


def test_who_begins_with_a_topic_that_nobody_has_published_to_sees_the_first(
    server: client_of.Valkey, address: str
) -> None:
    """Its stream is made."""
    server.delete(ONE.topic)
    valkey.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "first"})

    assert b"first" in given(server, "monitor")
