"""A stream loses what every group has acknowledged and what is old, on a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import valkey as client_of
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import stream_trimming, valkey
from sidecart.launcher.servers.stream_trimming import LAG_ENTRIES_MAX, Trimmed, lag_entries, trim

STREAM = "Stream"
ALL = f"{2**63}-0"
"""An age at which every entry is old."""
GROUPS = ("one", "two", "three")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[client_of.Valkey]:
    """Start a server for the module; return a client of it."""
    processes = Processes(tmp_path_factory.mktemp("logs"))
    try:
        address = valkey.Valkey().start(processes, tmp_path_factory.mktemp("data"), Deadline())
        with client_of.Valkey.from_url(f"redis://{address}") as client:
            yield client
    finally:
        processes.stop([valkey.NAME], valkey.STOP_SECONDS)


@pytest.fixture
def client(server: client_of.Valkey) -> client_of.Valkey:
    """A client of an empty server."""
    server.flushall()
    return server


def entry_id(number: int) -> str:
    """Return the id of an entry; their parts get a second digit at 10."""
    return f"{8 + number // 5}-{8 + number % 5}"


def add(client: client_of.Valkey, *numbers: int) -> None:
    """Add entries."""
    for number in numbers:
        client.xadd(STREAM, {"data": "{}"}, id=entry_id(number))


def add_many(client: client_of.Valkey, number: int) -> None:
    """Add entries with the ids 1-0, 2-0, ..."""
    client.eval(
        "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], n .. '-0', 'data', '{}') end", 1, STREAM, str(number)
    )


def ids(client: client_of.Valkey) -> list[str]:
    """Return the ids of the entries that the stream has."""
    entries: Any = client.xrange(STREAM)
    return [each.decode() for each, _ in entries]


def create(client: client_of.Valkey, *groups: str) -> None:
    """Create groups as sidecars do: they begin with the first entry."""
    for group in groups:
        client.xgroup_create(STREAM, group, id="0", mkstream=True)


def read(client: client_of.Valkey, group: str, count: int) -> list[str]:
    """Read new entries without an acknowledgement; return their ids."""
    found: Any = client.xreadgroup(group, "consumer", {STREAM: ">"}, count=count)
    return [each.decode() for _, entries in found for each, _ in entries]


def process(client: client_of.Valkey, group: str, count: int) -> None:
    """Read entries and acknowledge them."""
    for each in read(client, group, count):
        client.xack(STREAM, group, each)


def test_acknowledged_entries_go_and_newer_ones_stay(client: client_of.Valkey) -> None:
    """The age decides about entries that no group needs."""
    create(client, "one", "two")
    add(client, *range(10))
    for group in ("one", "two"):
        process(client, group, 10)

    trimmed = trim(client, STREAM, {"one", "two"}, entry_id(7))

    assert [entry_id(number) for number in range(7, 10)] == ids(client)
    assert Trimmed(7, 3, "", "") == trimmed
    assert (0, 0.0) == (lag_entries(client, STREAM, trimmed), trimmed.lag_seconds(1_000))


def test_an_entry_that_a_group_has_not_read_stays(client: client_of.Valkey) -> None:
    """Its age does not matter; the group is named."""
    create(client, "one", "two")
    add(client, *range(10))
    process(client, "one", 10)
    process(client, "two", 4)

    trimmed = trim(client, STREAM, (), ALL)

    assert Trimmed(4, 6, entry_id(4), "two") == trimmed
    assert [entry_id(number) for number in range(4, 10)] == ids(client) == read(client, "two", 100)
    assert 6 == lag_entries(client, STREAM, trimmed)
    assert 1.0 == trimmed.lag_seconds(1_008)


def test_an_entry_that_waits_for_its_acknowledgement_stays(client: client_of.Valkey) -> None:
    """So do the later ones, which another consumer may have acknowledged."""
    create(client, "one")
    add(client, *range(10))
    process(client, "one", 2)
    [held] = read(client, "one", 1)
    process(client, "one", 7)

    assert Trimmed(2, 8, held, "one") == trim(client, STREAM, (), ALL)
    client.xack(STREAM, "one", held)
    assert Trimmed(8, 0, "", "") == trim(client, STREAM, (), ALL)


def test_an_expected_group_that_does_not_exist_needs_everything(client: client_of.Valkey) -> None:
    """Its service has not started yet, and will read from the first entry."""
    create(client, "one")
    add(client, *range(10))
    process(client, "one", 10)

    assert Trimmed(0, 10, entry_id(0), "two") == trim(client, STREAM, {"one", "two"}, ALL)
    create(client, "two")
    assert [entry_id(number) for number in range(10)] == read(client, "two", 100)


def test_without_any_group_the_age_decides(client: client_of.Valkey) -> None:
    """No consumer reads the topic."""
    add(client, *range(10))

    assert Trimmed(6, 4, "", "") == trim(client, STREAM, (), entry_id(6))


def test_a_missing_stream_stays_missing(client: client_of.Valkey) -> None:
    """A start with an empty server, or on another broker."""
    assert Trimmed(0, 0, "", "") == trim(client, STREAM, {"one"}, ALL)
    create(client, "one")
    assert Trimmed(0, 0, "", "") == trim(client, STREAM, {"one"}, ALL)
    assert [b"Stream"] == client.keys()


def test_the_count_of_the_server_decides_nothing(client: client_of.Valkey) -> None:
    """Redis 7.0 reports a wrong lag after a restart; here the server reports none at all."""
    create(client, "one")
    add(client, *range(10))
    process(client, "one", 10)
    client.xgroup_setid(STREAM, "one", entry_id(9), entries_read=2)
    groups: Any = client.xinfo_groups(STREAM)

    assert groups[0]["lag"] != 0
    assert Trimmed(10, 0, "", "") == trim(client, STREAM, {"one"}, ALL)


def test_the_server_still_counts_the_undelivered_entries(client: client_of.Valkey) -> None:
    """The status, the keeper and KEDA read that number."""
    create(client, "one", "two")
    add(client, *range(10))
    process(client, "one", 10)
    process(client, "two", 4)

    trim(client, STREAM, {"one", "two"}, entry_id(3))
    trim(client, STREAM, {"one", "two"}, ALL)

    groups: Any = client.xinfo_groups(STREAM)
    assert {b"one": 0, b"two": 6} == {each["name"]: each["lag"] for each in groups}


def test_ids_are_compared_exactly(client: client_of.Valkey) -> None:
    """Lua's numbers end at 2^53, and an id has two numbers of 64 bits."""
    first, second, third = f"{2**53}-{2**53}", f"{2**53}-{2**53 + 1}", f"{2**53 + 1}-0"
    create(client, "one")
    for each in (first, second, third):
        client.xadd(STREAM, {"data": "{}"}, id=each)
    process(client, "one", 2)

    trim(client, STREAM, {"one"}, ALL)

    assert [second, third] == ids(client)  # the last acknowledged one stays, too, if its number is that large


def test_one_call_removes_a_limited_number(client: client_of.Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other clients are served between the calls; the sum is exact."""
    monkeypatch.setattr(stream_trimming, "BATCH_ENTRIES", 200)
    add_many(client, 2_050)
    client.config_resetstat()

    trimmed = trim(client, STREAM, (), "2001-0")

    assert (2_000, 50) == (trimmed.removed, trimmed.length)
    statistics: Any = client.info("commandstats")
    assert 11 == statistics["cmdstat_eval"]["calls"]


def test_a_full_server_still_trims(client: client_of.Valkey) -> None:
    """It refuses new entries until memory is free."""
    client.xadd(STREAM, {"data": "x" * 1_000_000}, id="1-0")
    before: Any = client.config_get("maxmemory")
    memory: Any = client.info("memory")
    client.config_set("maxmemory", memory["used_memory"] - 500_000)
    try:
        with pytest.raises(client_of.ResponseError, match="maxmemory"):
            client.xadd(STREAM, {"data": "{}"})
        assert 1 == trim(client, STREAM, (), ALL).removed
        client.xadd(STREAM, {"data": "{}"})
    finally:
        client.config_set("maxmemory", before["maxmemory"])


def test_a_long_lag_is_counted_up_to_a_limit(client: client_of.Valkey) -> None:
    """Entries may be large. If the stream begins with the lag, its length is the count."""
    create(client, "one")
    add_many(client, LAG_ENTRIES_MAX + 101)
    process(client, "one", 1)

    counted = lag_entries(client, STREAM, trim(client, STREAM, (), "1-0"))
    whole = lag_entries(client, STREAM, trim(client, STREAM, (), ALL))

    assert (LAG_ENTRIES_MAX, LAG_ENTRIES_MAX + 100) == (counted, whole)


@dataclass(slots=True)
class Model:
    """The stream and its groups as plain sets of numbers."""

    present: list[int] = field(default_factory=list)
    added: int = 0
    read: dict[str, int] = field(default_factory=dict)
    """The number of the first entry that a group has not read."""
    held: dict[str, set[int]] = field(default_factory=dict)
    """The entries that a group has read and not acknowledged."""

    def needed(self, expected: Sequence[str]) -> int:
        """Return the first entry that a group needs; without any group the one after the last."""
        if set(expected) - self.read.keys():
            return 0
        return min((min({first, *self.held[group]}) for group, first in self.read.items()), default=self.added)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 6), st.just("")),
        st.tuples(st.just("create"), st.just(0), st.sampled_from(GROUPS)),
        st.tuples(st.just("destroy"), st.just(0), st.sampled_from(GROUPS)),
        st.tuples(st.just("read"), st.integers(1, 5), st.sampled_from(GROUPS)),
        st.tuples(st.just("acknowledge"), st.integers(0, 9), st.sampled_from(GROUPS)),
        st.tuples(st.just("trim"), st.integers(0, 30), st.just("")),
    ),
    max_size=40,
)


def play(client: client_of.Valkey, model: Model, kind: str, number: int, group: str) -> None:
    """Apply one step, other than a trim, to the server and to the model."""
    numbers = {entry_id(each): each for each in range(model.added)}
    match kind:
        case "add":
            new = range(model.added, model.added + number)
            add(client, *new)
            model.present += new
            model.added += number
        case "create" if group not in model.read:
            create(client, group)
            model.read[group], model.held[group] = min(model.present, default=model.added), set()
        case "destroy" if group in model.read:
            client.xgroup_destroy(STREAM, group)
            del model.read[group], model.held[group]
        case "read" if group in model.read:
            found = {numbers[each] for each in read(client, group, number)}
            model.held[group] |= found
            model.read[group] = max({model.read[group], *(each + 1 for each in found)})
        case "acknowledge" if model.held.get(group):
            chosen = sorted(model.held[group])[number % len(model.held[group])]
            client.xack(STREAM, group, entry_id(chosen))
            model.held[group].remove(chosen)
        case _:
            pass


@settings(deadline=None, max_examples=200)
@given(steps=STEPS, expected=st.lists(st.sampled_from(GROUPS[:2]), unique=True))
def test_any_history_leaves_exactly_the_needed_and_the_new_entries(
    server: client_of.Valkey, steps: list[tuple[str, int, str]], expected: list[str]
) -> None:
    """Groups come, read, acknowledge in any sequence, and go; the stream is trimmed at any time."""
    server.flushall()
    model = Model()
    for kind, number, group in [*steps, ("trim", 30, "")]:
        if kind != "trim":
            play(server, model, kind, number, group)
            continue
        kept = min(number, model.needed(expected))
        trimmed = trim(server, STREAM, expected, entry_id(number))
        remaining = [each for each in model.present if each >= kept]

        assert len(model.present) - len(remaining) == trimmed.removed
        model.present = remaining
        assert [entry_id(each) for each in remaining] == ids(server)
        has_groups = bool(model.read or expected)
        waiting = [each for each in remaining if has_groups and each >= model.needed(expected)]
        assert (entry_id(waiting[0]) if waiting else "") == trimmed.waiting_id
        assert len(waiting) == lag_entries(server, STREAM, trimmed)
