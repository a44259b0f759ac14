"""Reader detection from the consumer groups of a real server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import valkey as client_of

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import valkey, valkey_groups
from sidecart.launcher.topics import Subscription

SERVER = valkey.Valkey()
ONE = Subscription("order", "order", "inbox", "OrderPaymentCreated")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server for the module; return its address."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        yield SERVER.start(processes, tmp_path_factory.mktemp("data"), Deadline())
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def server(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[client_of.Valkey]:
    """A client of the server, with a group that has read once and counts as idle."""
    monkeypatch.setattr(valkey_groups, "IDLE_MS_MAX", 0)
    with client_of.Valkey.from_url(f"redis://{address}") as client:
        client.flushall()
        client.xgroup_create(ONE.topic, ONE.consumer_id, mkstream=True)
        read_once(client)
        yield client


def read_once(client: client_of.Valkey) -> None:
    """Read as a sidecar does, without waiting for an event."""
    client.xreadgroup(ONE.consumer_id, ONE.consumer_id, {ONE.topic: ">"}, count=1)


def is_read(address: str) -> bool:
    """Whether the launcher finds the subscription read."""
    return [] == SERVER.unread(address, {ONE: 1})


def test_an_idle_consumer_without_events_counts_as_reading(server: client_of.Valkey, address: str) -> None:
    """A sidecar's blocking read may take as long as it likes."""
    assert is_read(address)


def test_an_idle_consumer_with_waiting_events_does_not_read(
    server: client_of.Valkey, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consumer that read a moment ago may be about to read again, so it counts as reading."""
    server.xadd(ONE.topic, {"data": "{}"})

    assert not is_read(address)
    monkeypatch.setattr(valkey_groups, "IDLE_MS_MAX", 15_000)
    assert is_read(address)


def test_a_consumer_with_a_pending_event_counts_as_reading(server: client_of.Valkey, address: str) -> None:
    """That holds even if more events wait: all its workers may wait for a mail server."""
    for _ in range(2):
        server.xadd(ONE.topic, {"data": "{}"})
    read_once(server)

    assert is_read(address)


def test_a_deleted_group_or_stream_is_not_read(server: client_of.Valkey, address: str) -> None:
    """Without the group or the stream, no event would be delivered."""
    server.xgroup_destroy(ONE.topic, ONE.consumer_id)
    assert not is_read(address)
    server.delete(ONE.topic)
    assert not is_read(address)


NEW = Subscription("monitor", "monitor", "inbox", ONE.topic)


def delivered(client: client_of.Valkey, group: str) -> list[bytes]:
    """Read a group's new events, and then its unacknowledged ones."""
    found: list[bytes] = []
    for place in (">", "0"):
        entries: Any = client.xreadgroup(group, group, {ONE.topic: place}, count=10)
        found += [fields[b"data"] for _, some in entries for _, fields in some]
    return found


def test_a_new_consumer_receives_only_later_events(server: client_of.Valkey, address: str) -> None:
    """Without `skip_backlog` a group would start at the beginning of the stream."""
    server.xadd(ONE.topic, {"data": "before"})
    SERVER.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "after"})

    assert 1 == SERVER.waiting(address, [NEW])[NEW]
    assert b"after" in delivered(server, "monitor")
    assert b"before" not in delivered(server, "monitor")


def test_a_restarted_consumer_does_not_receive_pending_events(server: client_of.Valkey, address: str) -> None:
    """The killed consumer's unacknowledged event is not delivered again."""
    SERVER.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "held"})
    assert b"held" in delivered(server, "monitor")
    SERVER.skip_backlog(address, [NEW])

    assert ([], 0) == (delivered(server, "monitor"), SERVER.waiting(address, [NEW])[NEW])


def test_removing_a_consumer_leaves_other_groups_unchanged(server: client_of.Valkey, address: str) -> None:
    """The position of other groups does not change."""
    server.xadd(ONE.topic, {"data": "{}"})
    SERVER.skip_backlog(address, [NEW])
    before: Any = server.xinfo_groups(ONE.topic)

    assert (1, 0) == (SERVER.remove(address, [NEW]), SERVER.remove(address, [NEW]))
    assert [each for each in before if each["name"] == b"order"] == server.xinfo_groups(ONE.topic)
    assert {NEW: 0, ONE: 1} == SERVER.waiting(address, [NEW, ONE])


def test_a_new_consumer_of_an_unpublished_topic_receives_the_first_event(
    server: client_of.Valkey, address: str
) -> None:
    """`skip_backlog` creates the stream."""
    server.delete(ONE.topic)
    SERVER.skip_backlog(address, [NEW])
    server.xadd(ONE.topic, {"data": "first"})

    assert b"first" in delivered(server, "monitor")


def test_a_wrong_count_of_the_server_is_no_backlog(server: client_of.Valkey, address: str) -> None:
    """Redis 7.0 forgets after a restart how many events a group has read."""
    for _ in range(3):
        server.xadd(ONE.topic, {"data": "{}"})
    server.xgroup_setid(ONE.topic, ONE.consumer_id, "$", entries_read=1)
    groups: Any = server.xinfo_groups(ONE.topic)

    assert 2 == groups[0]["lag"]
    assert {ONE: 0} == SERVER.waiting(address, [ONE])
    server.xadd(ONE.topic, {"data": "{}"})
    assert {ONE: 3} == SERVER.waiting(address, [ONE])


def test_a_group_is_abandoned_without_a_reader_of_its_events(server: client_of.Valkey, address: str) -> None:
    """A consumer that read within a minute still reads, as does the one beside it."""
    assert not SERVER.is_abandoned(address, [ONE], [ONE], [ONE])
    SERVER.skip_backlog(address, [NEW])

    assert SERVER.is_abandoned(address, [NEW], [NEW], [ONE])
    assert 1 == SERVER.remove(address, [NEW])
    assert not SERVER.is_abandoned(address, [NEW], [NEW], [ONE])


def test_no_group_is_abandoned_while_none_reads(server: client_of.Valkey, address: str) -> None:
    """The server may be full, and then no event reaches a consumer that runs."""
    SERVER.skip_backlog(address, [NEW])
    server.xgroup_delconsumer(ONE.topic, ONE.consumer_id, ONE.consumer_id)

    assert not SERVER.is_abandoned(address, [NEW], [NEW], [ONE])


def test_a_gateway_that_reads_one_topic_is_not_gone(server: client_of.Valkey, address: str) -> None:
    """A consumer without events reads nothing, for as long as there are none."""
    SERVER.skip_backlog(address, [NEW])

    assert not SERVER.is_abandoned(address, [NEW], [NEW, ONE], [ONE])


def test_a_reply_stream_goes_with_its_only_reader(server: client_of.Valkey, address: str) -> None:
    """Also if a late reply has created it again, without a group."""
    own = Subscription("gateway", "gateway-3", "replies", "Replies-gateway-3-user")
    SERVER.skip_backlog(address, [own])
    server.xadd(own.topic, {"data": "{}"})

    assert 1 == SERVER.remove(address, [own])
    assert not server.exists(own.topic)
    server.xadd(own.topic, {"data": "{}"})
    assert SERVER.is_abandoned(address, [own], [own], [ONE])
    assert 1 == SERVER.remove(address, [own])
    assert not server.exists(own.topic)


def test_a_missing_right_is_not_a_missing_stream(server: client_of.Valkey, address: str) -> None:
    """Otherwise the keeper of a cluster would find nothing to remove, for ever."""
    server.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+@read", "-xinfo"])

    with pytest.raises(OSError, match="no permissions"):
        SERVER.is_abandoned(f"reader:x@{address}", [ONE], [ONE], [ONE])
