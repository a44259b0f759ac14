"""The event processor: its calls and their order, and the effect of a failure at each call."""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from sidecart.chassis import outbox, speculation
from sidecart.chassis import processor as processor_module
from sidecart.chassis.deferral import FRESH
from sidecart.chassis.errors import Conflict, PermanentError, SidecarUnavailable, TransientError
from sidecart.chassis.speculation import SpeculativeProcessor
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.chassis.toy_service import AT, JARS, coin, event, named, paint, processor

CALLS = [
    "load jar:a",
    "load coin:c-1",
    "save jar:a",
    "insert coin:c-1",
    "publish CoinKept",
    "publish BellRung",
]
UNREACHABLE = SidecarUnavailable("unreachable")
WHY = named("why c-1")


def play(scenario: Callable[[FakeSidecar], Awaitable[None]]) -> FakeSidecar:
    """Run one scenario on an empty store and return the sidecar."""
    sidecar = FakeSidecar()

    async def run() -> None:
        await scenario(sidecar)

    asyncio.run(run())
    return sidecar


def put(*names: str, value: int = 5) -> FakeSidecar:
    """Process coins one after another, in one process."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        for name in names:
            await one.process("CoinPut", coin(name, value))

    return play(scenario)


def ids(sidecar: FakeSidecar) -> list[str]:
    """Return the ids of the published events, in order."""
    return [published["id"] for _, published in sidecar.published]


def decided(sidecar: FakeSidecar) -> tuple[Any, Any]:
    """Return the state of the jar and the outbox, without writers and times."""
    record = sidecar.read("jar:a")
    return record["state"], {name: (entry["secondaries"], entry["outputs"]) for name, entry in record["outbox"].items()}


def test_secondary_records_and_events_follow_the_save() -> None:
    """The save precedes all visible effects; the record is loaded before the secondary record."""
    sidecar = put("c-1")

    assert sidecar.calls == CALLS


def test_the_record_is_saved_with_its_outbox() -> None:
    """The saved record holds state, secondary records and outputs, so any process can finish."""
    sidecar = put("c-1")

    saved = sidecar.read("jar:a")
    entry = saved["outbox"][named("c-1")]
    assert {"total": 5, "color": "none"} == saved["state"]
    assert [named("c-1")] == list(saved["outbox"])
    assert {"coin:c-1": {"total": 5}} == entry["secondaries"]
    assert [published for _, published in sidecar.published] == entry["outputs"]


def test_an_output_is_a_whole_cloud_event() -> None:
    """An output has an id derived from its input, and the input's correlation id."""
    sidecar = put("c-1")

    expected = {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.UUID(named("c-1")), "jarsBellRung1")),
        "type": "BellRung",
        "source": "jars",
        "subject": "a",
        "correlationid": named("why c-1"),
        "time": "2026-01-02T03:04:05.678Z",
        "datacontenttype": "application/json",
        "data": {"jar_id": "a"},
    }
    assert ("BellRung", expected) == sidecar.published[1]


def topics(sidecar: FakeSidecar) -> list[str]:
    """Return the topics of the published events, in order."""
    return [topic for topic, _ in sidecar.published]


def test_a_reply_with_an_address_is_copied_to_the_requester() -> None:
    """The copy is the same event, and every output names the requester."""

    async def scenario(sidecar: FakeSidecar) -> None:
        await processor(sidecar).process("CoinPut", coin("c-1", reply_to="gateway-3"))

    sidecar = play(scenario)

    assert ["CoinKept", "Replies-gateway-3-jars", "BellRung"] == topics(sidecar)
    assert {"gateway-3"} == {published["replyto"] for _, published in sidecar.published}
    assert sidecar.published[0][1] == sidecar.published[1][1]


@pytest.mark.parametrize("latest", ["gateway-4", ""])
@pytest.mark.parametrize("is_unfinished", [False, True])
@pytest.mark.parametrize("is_in_outbox", [False, True])
def test_a_repeated_event_is_answered_to_its_latest_requester(
    latest: str, is_unfinished: bool, is_in_outbox: bool
) -> None:
    """From the outbox of this process or of another one, or from the state; the ids stay."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1", reply_to="gateway-3"))
        if not is_in_outbox:
            await one.process("CoinPut", coin("c-2"))
        sidecar.published.clear()
        other = processor(sidecar, "another process") if is_unfinished else one
        await other.process("CoinPut", coin("c-1", reply_to=latest))

    sidecar = play(scenario)

    answers = [(topic, published) for topic, published in sidecar.published if published["correlationid"] == WHY]
    copies = [f"Replies-{latest}-jars"] if latest else []
    assert ["CoinKept", *copies, "BellRung"] == [topic for topic, _ in answers]
    assert {latest} == {published.get("replyto", "") for _, published in answers}
    assert ids(put("c-1")) == [answers[0][1]["id"], answers[-1][1]["id"]]


def test_the_outbox_holds_the_newest_event_only() -> None:
    """The outbox keeps no finished entries, so that a record does not grow with its history."""
    sidecar = put("c-1", "c-2", "c-3")

    assert [named("c-3")] == list(sidecar.read("jar:a")["outbox"])
    assert 15 == sidecar.read("jar:a")["state"]["total"]


def test_a_finished_entry_is_not_repeated_by_the_next_event() -> None:
    """Each coin is published once, however many coins follow."""
    sidecar = put("c-1", "c-2", "c-3")

    assert 6 == len(set(ids(sidecar))) == len(sidecar.published)


def test_an_id_in_the_outbox_is_published_again_and_nothing_else() -> None:
    """A redelivered event is published again, because the broker may have lost the publish."""
    sidecar = put("c-1", "c-1")

    assert [*CALLS, "load jar:a", "publish CoinKept", "publish BellRung"] == sidecar.calls
    assert ids(sidecar)[:2] == ids(sidecar)[2:]


def test_an_id_in_the_outbox_that_was_finished_just_now_is_not_published_twice() -> None:
    """A new process that finishes the entry of a redelivered event publishes it once."""

    async def scenario(sidecar: FakeSidecar) -> None:
        await processor(sidecar).process("CoinPut", coin("c-1"))
        await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    after = ["load jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"]
    assert [*CALLS, *after] == sidecar.calls


def test_a_repeat_that_left_the_outbox_is_answered_from_state_without_a_save() -> None:
    """An older repeated event publishes the same outputs with the same ids, without a save."""
    sidecar = put("c-1", "c-2", "c-1")

    assert ids(sidecar)[:2] == ids(sidecar)[4:]
    assert sidecar.published[0] == sidecar.published[4]
    assert 2 == sidecar.count("save")
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_an_event_that_changes_nothing_is_published_without_a_save() -> None:
    """An event that leaves the state unchanged publishes its outputs without a save."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-2", "red"))

    sidecar = play(scenario)

    assert 1 == sidecar.count("save")
    assert ["red", "red"] == [published["data"]["color"] for _, published in sidecar.published]


def test_unfinished_entries_are_finished_before_the_next_event_is_decided() -> None:
    """A process finishes the old outbox of a dead process before it decides its own event."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse[4] = UNREACHABLE
        with pytest.raises(TransientError):
            await processor(sidecar).process("CoinPut", coin("c-1"))
        await processor(sidecar, "another", AT + FRESH).process("CoinPut", coin("c-2"))

    sidecar = play(scenario)

    finishing = ["load jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"]
    assert [*finishing, "load coin:c-2", "save jar:a"] == sidecar.calls[4:10]
    assert [5, 10] == [data["data"]["total"] for kind, data in sidecar.published if kind == "CoinKept"]


def by_turns(sidecar: FakeSidecar) -> Callable[..., Awaitable[None]]:
    """Return a function that processes a coin in one of two processes.

    `await process("one", "c-1")` processes coin `c-1` in process `one`.
    """
    processors = {name: processor(sidecar, name) for name in ("one", "two")}

    async def process(writer: str, name: str) -> None:
        await processors[writer].process("CoinPut", coin(name))

    return process


def test_a_fresh_entry_of_another_process_is_deferred_to_it() -> None:
    """A fresh entry of another process stays in the outbox without its secondary records."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        await process("one", "c-1")
        await process("two", "c-2")

    sidecar = play(scenario)

    assert ["load jar:a", "insert coin:c-1", "load coin:c-2", "save jar:a", "insert coin:c-2"] == sidecar.calls[6:11]
    assert 4 == len(set(ids(sidecar))) == len(sidecar.published)
    outbox = sidecar.read("jar:a")["outbox"]
    assert {named("c-1"): ({}, 2, "one"), named("c-2"): ({"coin:c-2": {"total": 10}}, 2, "two")} == {
        name: (entry["secondaries"], len(entry["outputs"]), entry["writer"]) for name, entry in outbox.items()
    }


def test_a_deferred_entry_is_dropped_by_its_writer() -> None:
    """With two processes in turn, the outbox holds the last entry of each."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        for number in range(6):
            await process(("one", "two")[number % 2], f"c-{number}")

    sidecar = play(scenario)

    assert [named("c-4"), named("c-5")] == list(sidecar.read("jar:a")["outbox"])
    assert 30 == sidecar.read("jar:a")["state"]["total"]
    assert 12 == len(set(ids(sidecar))) == len(sidecar.published)


def test_a_deferred_entry_is_published_when_its_event_is_redelivered() -> None:
    """A deferred entry whose writer died is published when its event is redelivered."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(TransientError):
            await process("one", "c-1")
        await process("two", "c-2")
        await process("two", "c-1")

    sidecar = play(scenario)

    totals = [published["data"]["total"] for kind, published in sidecar.published if kind == "CoinKept"]
    assert [10, 5] == totals[-2:]
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_an_old_deferred_entry_is_finished_by_the_next_process() -> None:
    """An old deferred entry is finished by the next process, even without a redelivery."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(TransientError):
            await processor(sidecar, "dead").process("CoinPut", coin("c-1"))
        await processor(sidecar, "one").process("CoinPut", coin("c-2"))
        await processor(sidecar, "two", AT + FRESH).process("CoinPut", coin("c-3"))

    sidecar = play(scenario)

    assert {5, 10, 15} == {published["data"]["total"] for kind, published in sidecar.published if kind == "CoinKept"}
    assert [named("c-3")] == list(sidecar.read("jar:a")["outbox"])


def test_a_record_with_a_deferred_entry_is_not_cached() -> None:
    """A record with a deferred entry is loaded next time, as its other writer may change it."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        await process("one", "c-1")
        await process("two", "c-2")
        del sidecar.calls[:]
        await process("two", "c-3")

    sidecar = play(scenario)

    assert "load jar:a" == sidecar.calls[0]
    assert [named("c-1"), named("c-3")] == list(sidecar.read("jar:a")["outbox"])


def test_every_entry_of_an_outbox_is_finished() -> None:
    """All entries are finished, including entries that another implementation keeps longer."""

    async def scenario(sidecar: FakeSidecar) -> None:
        entry: dict[str, Any] = {"secondaries": {}, "outputs": [{"id": named("one"), "type": "JarSeen"}]}
        other: dict[str, Any] = {"secondaries": {}, "outputs": [{"id": named("two"), "type": "BellRung"}]}
        sidecar.put("jar:a", msgspec.json.encode({"state": None, "outbox": {named("x"): entry, named("y"): other}}))
        await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert [named("one"), named("two")] == ids(sidecar)[:2]
    assert [named("c-1")] == list(sidecar.read("jar:a")["outbox"])


@pytest.mark.parametrize("kind", ["refuse", "lose"])
@pytest.mark.parametrize("number", range(1, len(CALLS) + 1))
@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_failure_at_any_call_is_transient_and_the_redelivery_completes(
    number: int, kind: str, is_restarted: bool
) -> None:
    """A failure at any call, with or without an effect, leaves a coin that counts once."""

    async def scenario(sidecar: FakeSidecar) -> None:
        getattr(sidecar, kind)[number] = UNREACHABLE
        one = processor(sidecar)
        with pytest.raises(TransientError):
            await one.process("CoinPut", coin("c-1"))
        await (processor(sidecar, "another") if is_restarted else one).process("CoinPut", coin("c-1"))

    sidecar, expected = play(scenario), put("c-1")

    assert decided(expected) == decided(sidecar)
    assert expected.read("coin:c-1") == sidecar.read("coin:c-1")
    assert set(ids(expected)) == set(ids(sidecar))


@pytest.fixture
def without_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable the record cache, so that each record is loaded."""
    monkeypatch.setattr(speculation, "RECORD_BYTES_MAX", 0)


@pytest.mark.usefixtures("without_cache")
def test_an_id_that_is_saved_again_is_not_taken_for_finished() -> None:
    """An event that is saved a second time gets a new unfinished entry."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-2", "blue"))
        sidecar.refuse[len(sidecar.calls) + 3] = UNREACHABLE  # load, save, publish
        with pytest.raises(TransientError):
            await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-3", "green"))

    sidecar = play(scenario)

    colors = [published["data"]["color"] for _, published in sidecar.published]
    assert ["red", "blue", "red", "green"] == colors


def test_a_conflict_loads_again_and_decides_again() -> None:
    """After a conflict the processor finishes the other process's entry, and both coins count."""

    async def scenario(sidecar: FakeSidecar) -> None:
        theirs = {"secondaries": {"coin:c-9": {"total": 40}}, "outputs": []}
        record = {"state": {"total": 40, "color": "none"}, "outbox": {named("c-9"): theirs}}
        sidecar.before[3] = lambda: sidecar.put("jar:a", msgspec.json.encode(record))
        await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert [*CALLS[:3], "load jar:a", "insert coin:c-9", "load coin:c-1", "save jar:a"] == sidecar.calls[:7]
    assert {"total": 45, "color": "none"} == sidecar.read("jar:a")["state"]
    assert {"total": 40} == sidecar.read("coin:c-9")
    assert 45 == sidecar.published[0][1]["data"]["total"]


def test_repeated_conflicts_are_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `ATTEMPTS_MAX` conflicts the event is left to a redelivery."""
    monkeypatch.setattr(processor_module, "ATTEMPTS_MAX", 3)

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse = {number: Conflict("lost") for number in (3, 6, 9)}
        with pytest.raises(TransientError):
            await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert CALLS[:3] * 3 == sidecar.calls


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        event("JarPainted", "p-1", jar_id="a", color="red"),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1"),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1", value=0),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1", value="5"),
    ],
    ids=["empty", "cut", "not UTF-8", "nested", "another type", "missing", "too small", "not a number"],
)
def test_a_malformed_event_is_a_permanent_error(body: bytes) -> None:
    """A malformed event is rejected without a call to the sidecar."""

    async def scenario(sidecar: FakeSidecar) -> None:
        with pytest.raises(PermanentError):
            await processor(sidecar).process("CoinPut", body)

    assert [] == play(scenario).calls


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        ("CoinPut", coin("c-1", value=100), "AssertionError in the step: the jar is full"),
        ("JarPainted", paint("p-1", "plaid"), "LookupError in the step: no such paint"),
    ],
)
def test_a_step_that_fails_is_a_permanent_error(topic: str, body: bytes, reason: str) -> None:
    """A failed step writes nothing, and its exception becomes the reason."""

    async def scenario(sidecar: FakeSidecar) -> None:
        with pytest.raises(PermanentError) as fault:
            await processor(sidecar).process(topic, body)
        assert reason == fault.value.reason
        assert reason.partition(":")[0] == str(fault.value)  # safe to log

    sidecar = play(scenario)

    assert {} == sidecar.records
    assert [] == sidecar.published


def test_events_of_one_key_wait_for_each_other_and_other_keys_do_not() -> None:
    """Events of one key are processed one at a time; events of other keys are not delayed."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.gates[1] = asyncio.Event()
        one = processor(sidecar)
        async with asyncio.TaskGroup() as group:
            group.create_task(one.process("CoinPut", coin("c-1")))
            await sidecar.held.wait()
            group.create_task(one.process("CoinPut", coin("c-2")))
            await one.process("CoinPut", coin("c-3", jar="b"))
            calls_until_then = list(sidecar.calls)
            sidecar.gates[1].set()

        assert 1 == calls_until_then.count("load jar:a")
        assert "publish BellRung" in calls_until_then

    sidecar = play(scenario)

    assert 10 == sidecar.read("jar:a")["state"]["total"]
    assert 2 == sidecar.count("save jar:a")


def test_two_concurrent_processes_lose_no_coin() -> None:
    """The process with the conflict adds its coin to the state that the other one saved."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one, other = processor(sidecar), processor(sidecar)
        await asyncio.gather(one.process("CoinPut", coin("c-1")), other.process("CoinPut", coin("c-2")))

    sidecar = play(scenario)

    assert 10 == sidecar.read("jar:a")["state"]["total"]
    assert 3 == sidecar.count("save jar:a")


@pytest.mark.usefixtures("without_cache")
@pytest.mark.parametrize(("finished_max", "published"), [(1, 8), (2, 6)])
def test_the_memory_of_finished_entries_is_bounded(
    monkeypatch: pytest.MonkeyPatch, finished_max: int, published: int
) -> None:
    """The oldest finished entry is forgotten first, and then finished again with the same ids."""
    monkeypatch.setattr(outbox, "FINISHED_MAX", finished_max)

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1", jar="a"))
        await one.process("CoinPut", coin("c-2", jar="b"))
        await one.process("CoinPut", coin("c-3", jar="a"))

    sidecar = play(scenario)

    assert published == len(sidecar.published)
    assert 6 == len(set(ids(sidecar)))


def test_a_cached_record_is_not_loaded_again() -> None:
    """A cached record saves the load of the record, but not of the secondary record."""
    sidecar = put("c-1", "c-2")

    assert [*CALLS, "load coin:c-2", "save jar:a", "insert coin:c-2", "publish CoinKept", "publish BellRung"] == (
        sidecar.calls
    )
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_cached_record_that_another_process_changed_is_loaded() -> None:
    """If the store refuses a save over an outdated record, the record is loaded again."""

    async def scenario(sidecar: FakeSidecar) -> None:
        ours, others = processor(sidecar), processor(sidecar)
        await ours.process("CoinPut", coin("c-1"))
        await others.process("CoinPut", coin("c-2"))
        sidecar.calls.clear()
        await ours.process("CoinPut", coin("c-3"))

    sidecar = play(scenario)

    assert ["load coin:c-3", "save jar:a", "load jar:a", "insert coin:c-2"] == sidecar.calls[:4]
    assert 15 == sidecar.read("jar:a")["state"]["total"]
    assert {"c-1", "c-2", "c-3"} == {key.removeprefix("coin:") for key in sidecar.records if key.startswith("coin:")}


def test_a_repeated_event_is_decided_on_the_stored_record() -> None:
    """A repeated coin is decided on the stored record, not on the cached one."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1"))
        await one.process("CoinPut", coin("c-2"))
        sidecar.calls.clear()
        await one.process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert "load jar:a" in sidecar.calls
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_step_that_fails_on_a_cached_record_is_retried_on_the_stored_one() -> None:
    """A step that fails on an outdated cached record is repeated on the stored record."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1", 90))
        sidecar.put("jar:a", msgspec.json.encode({"state": {"total": 0, "color": "none"}, "outbox": {}}))
        await one.process("CoinPut", coin("c-2", 20))

    assert 20 == play(scenario).read("jar:a")["state"]["total"]


def test_an_unfinished_record_is_not_cached() -> None:
    """After a failed publish the next event loads the record and finishes its outbox."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        sidecar.refuse[6] = UNREACHABLE
        with pytest.raises(TransientError):
            await one.process("CoinPut", coin("c-1"))
        await one.process("CoinPut", coin("c-2"))

    sidecar = play(scenario)

    assert ["load jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"] == sidecar.calls[6:10]


def test_a_creation_is_saved_without_a_load_unless_it_conflicts() -> None:
    """A creation is saved without a load; if the record exists, the conflict leads to a load."""
    is_creation = dataclasses.replace(JARS, is_creation=lambda _: True)

    async def scenario(sidecar: FakeSidecar) -> None:
        await SpeculativeProcessor(is_creation, sidecar, lambda: AT).process("CoinPut", coin("c-1"))
        assert ["save jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"] == sidecar.calls
        sidecar.calls.clear()
        await SpeculativeProcessor(is_creation, sidecar, lambda: AT).process("CoinPut", coin("c-2"))

    sidecar = play(scenario)

    assert ["save jar:a", "load jar:a"] == sidecar.calls[:2]
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_failed_publish_waits_for_the_other_publishes() -> None:
    """No publish of an event is in flight when its failure is reported."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(SidecarUnavailable):
            await processor(sidecar).process("CoinPut", coin("c-1"))
        assert ["publish CoinKept", "publish BellRung"] == sidecar.calls[4:]
        assert ["BellRung"] == [topic for topic, _ in sidecar.published]

    play(scenario)


@pytest.mark.parametrize(("publisher", "total"), [("mint", None), ("gateway", 5)])
def test_only_an_event_of_its_publisher_moves_a_record(publisher: str, total: int | None) -> None:
    """The coin of the gateway counts only if the gateway publishes coins."""
    sidecar = FakeSidecar()
    jars = dataclasses.replace(JARS, publishers={"CoinPut": publisher})
    processed = SpeculativeProcessor(jars, sidecar, lambda: AT).process("CoinPut", coin("c-1"))
    if total is None:
        with pytest.raises(PermanentError, match="the source is not 'mint', the publisher of 'CoinPut'"):
            asyncio.run(processed)
        assert [] == sidecar.calls
    else:
        asyncio.run(processed)
        assert total == decided(sidecar)[0]["total"]
