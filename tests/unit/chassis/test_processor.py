"""The event processor: what it loads, saves and publishes, in which order, and what a death at each call leaves."""

import asyncio
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from chassis import processor as module
from chassis import record_cache
from chassis.errors import Conflict, PermanentError, SidecarUnavailable, TransientError
from chassis.processor import EventProcessor
from chassis.record import FRESH
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


def play(scenario: Callable[[FakeSidecar], Awaitable[None]]) -> FakeSidecar:
    """Run one scenario on an empty store, and return what it left."""
    sidecar = FakeSidecar()

    async def run() -> None:
        await scenario(sidecar)

    asyncio.run(run())
    return sidecar


def put(*names: str, value: int = 5) -> FakeSidecar:
    """Deliver coins one after the other, by one process."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        for name in names:
            await one.process("CoinPut", coin(name, value))

    return play(scenario)


def ids(sidecar: FakeSidecar) -> list[str]:
    """The ids of what was published, in order."""
    return [published["id"] for _, published in sidecar.published]


def decided(sidecar: FakeSidecar) -> tuple[Any, Any]:
    """The state of the jar, and what is to do for each event, whoever saved it."""
    record = sidecar.read("jar:a")
    return record["state"], {name: (entry["secondaries"], entry["outputs"]) for name, entry in record["outbox"].items()}


def test_secondary_records_and_events_follow_the_save() -> None:
    """Nothing is seen by others before the decision is kept; the secondary record is read after the record."""
    sidecar = put("c-1")

    assert sidecar.calls == CALLS


def test_the_record_is_saved_with_the_outbox_of_what_is_still_to_do() -> None:
    """State, secondary records and outputs are one value: whoever finds it can finish it."""
    sidecar = put("c-1")

    saved = sidecar.read("jar:a")
    entry = saved["outbox"][named("c-1")]
    assert {"total": 5, "colour": "none"} == saved["state"]
    assert [named("c-1")] == list(saved["outbox"])
    assert {"coin:c-1": {"total": 5}} == entry["secondaries"]
    assert [published for _, published in sidecar.published] == entry["outputs"]


def test_an_output_is_a_whole_cloud_event() -> None:
    """Its id is made from the input's, so that a repetition gives it again; the correlation goes on."""
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


def test_the_outbox_holds_the_newest_event_only() -> None:
    """Nothing in a record grows with history."""
    sidecar = put("c-1", "c-2", "c-3")

    assert [named("c-3")] == list(sidecar.read("jar:a")["outbox"])
    assert 15 == sidecar.read("jar:a")["state"]["total"]


def test_what_this_process_finished_is_not_done_again_by_the_next_event() -> None:
    """One coin costs two publishes, however many follow."""
    sidecar = put("c-1", "c-2", "c-3")

    assert 6 == len(set(ids(sidecar))) == len(sidecar.published)


def test_an_id_in_the_outbox_is_published_again_and_nothing_else() -> None:
    """The redelivery may be all that is left of a publish that the broker lost."""
    sidecar = put("c-1", "c-1")

    assert [*CALLS, "load jar:a", "publish CoinKept", "publish BellRung"] == sidecar.calls
    assert ids(sidecar)[:2] == ids(sidecar)[2:]


def test_an_id_in_the_outbox_that_was_finished_just_now_is_not_published_twice() -> None:
    """A new process finishes the outbox of a dead one; its redelivered event needs no more."""

    async def scenario(sidecar: FakeSidecar) -> None:
        await processor(sidecar).process("CoinPut", coin("c-1"))
        await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    after = ["load jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"]
    assert [*CALLS, *after] == sidecar.calls


def test_a_repeat_that_left_the_outbox_is_answered_from_state_without_a_save() -> None:
    """The same outputs with the same ids, and the record stays as it is."""
    sidecar = put("c-1", "c-2", "c-1")

    assert ids(sidecar)[:2] == ids(sidecar)[4:]
    assert sidecar.published[0] == sidecar.published[4]
    assert 2 == sidecar.count("save")
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_an_event_that_changes_nothing_is_not_saved_but_still_announced() -> None:
    """A record that is new to nobody costs no write."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-2", "red"))

    sidecar = play(scenario)

    assert 1 == sidecar.count("save")
    assert ["red", "red"] == [published["data"]["colour"] for _, published in sidecar.published]


def test_unfinished_entries_are_finished_before_the_next_event_is_decided() -> None:
    """Another process finds the outbox of one that is long dead, writes its secondary record, publishes, and then
    goes on.
    """

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
    """Two processes of the service; `await process("one", "c-1")` gives a coin to the first."""
    processors = {name: processor(sidecar, name) for name in ("one", "two")}

    async def process(writer: str, name: str) -> None:
        await processors[writer].process("CoinPut", coin(name))

    return process


def test_what_another_process_saved_moments_ago_is_left_to_it() -> None:
    """Its secondary record is written before the step looks for one; its events are not published again, but kept."""

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


def test_what_was_left_is_dropped_by_its_writer() -> None:
    """By turns, so that an outbox holds what each process saved last."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        for number in range(6):
            await process(("one", "two")[number % 2], f"c-{number}")

    sidecar = play(scenario)

    assert [named("c-4"), named("c-5")] == list(sidecar.read("jar:a")["outbox"])
    assert 30 == sidecar.read("jar:a")["state"]["total"]
    assert 12 == len(set(ids(sidecar))) == len(sidecar.published)


def test_what_was_left_is_published_when_its_event_comes_again() -> None:
    """Its writer died between the save and the publishing; another process has saved since."""

    async def scenario(sidecar: FakeSidecar) -> None:
        process = by_turns(sidecar)
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(TransientError):
            await process("one", "c-1")
        await process("two", "c-2")
        await process("two", "c-1")

    sidecar = play(scenario)

    kept = [published["data"]["total"] for kind, published in sidecar.published if kind == "CoinKept"]
    assert [10, 5] == kept[-2:]
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_what_was_left_and_has_grown_old_is_finished_by_whoever_comes() -> None:
    """Its writer is dead, and its event never came again."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(TransientError):
            await processor(sidecar, "dead").process("CoinPut", coin("c-1"))
        await processor(sidecar, "one").process("CoinPut", coin("c-2"))
        await processor(sidecar, "two", AT + FRESH).process("CoinPut", coin("c-3"))

    sidecar = play(scenario)

    assert {5, 10, 15} == {published["data"]["total"] for kind, published in sidecar.published if kind == "CoinKept"}
    assert [named("c-3")] == list(sidecar.read("jar:a")["outbox"])


def test_a_record_with_something_left_is_loaded_the_next_time() -> None:
    """Somebody else writes it too: what this process remembers would be wrong, and what was left would be dropped."""

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
    """Also those that a processor in another language kept for longer than ours would."""

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
    """Whether or not the call was made, and whether or not the process lived: the coin counts once."""

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
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that loads each record, as one does whose record was written by another process last."""
    monkeypatch.setattr(record_cache, "RECORD_BYTES_MAX", 0)


@pytest.mark.usefixtures("forgetful")
def test_an_id_that_is_saved_again_is_not_taken_for_finished() -> None:
    """It was finished once, but its second save has work of its own, which a death leaves to the next event."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-2", "blue"))
        sidecar.refuse[len(sidecar.calls) + 3] = UNREACHABLE  # load, save, publish
        with pytest.raises(TransientError):
            await one.process("JarPainted", paint("p-1", "red"))
        await one.process("JarPainted", paint("p-3", "green"))

    sidecar = play(scenario)

    told = [published["data"]["colour"] for _, published in sidecar.published]
    assert ["red", "blue", "red", "green"] == told


def test_a_conflict_loads_again_and_decides_again() -> None:
    """Somebody else's coin came first: it is finished by us, and both count."""

    async def scenario(sidecar: FakeSidecar) -> None:
        theirs = {"secondaries": {"coin:c-9": {"total": 40}}, "outputs": []}
        record = {"state": {"total": 40, "colour": "none"}, "outbox": {named("c-9"): theirs}}
        sidecar.before[3] = lambda: sidecar.put("jar:a", msgspec.json.encode(record))
        await processor(sidecar).process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert [*CALLS[:3], "load jar:a", "insert coin:c-9", "load coin:c-1", "save jar:a"] == sidecar.calls[:7]
    assert {"total": 45, "colour": "none"} == sidecar.read("jar:a")["state"]
    assert {"total": 40} == sidecar.read("coin:c-9")
    assert 45 == sidecar.published[0][1]["data"]["total"]


def test_a_race_that_is_always_lost_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many attempts the broker is asked to come again."""
    monkeypatch.setattr(module, "ATTEMPTS_MAX", 3)

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
        event("JarPainted", "p-1", jar_id="a", colour="red"),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1"),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1", value=0),
        event("CoinPut", "c-1", jar_id="a", coin_id="c-1", value="5"),
    ],
    ids=["empty", "cut", "not UTF-8", "nested", "another type", "missing", "too small", "not a number"],
)
def test_an_event_that_cannot_be_read_is_its_own_fault(body: bytes) -> None:
    """It is refused before the sidecar is asked for anything."""

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
    """A step does no I/O, so no retry would help; its words become the reason, and nothing is written."""

    async def scenario(sidecar: FakeSidecar) -> None:
        with pytest.raises(PermanentError) as fault:
            await processor(sidecar).process(topic, body)
        assert reason == fault.value.reason
        assert reason.partition(":")[0] == str(fault.value)  # what a log may say

    sidecar = play(scenario)

    assert {} == sidecar.records
    assert [] == sidecar.published


def test_events_of_one_key_wait_for_each_other_and_other_keys_do_not() -> None:
    """While one jar's coin waits for the store, the next coin of that jar asks nothing, and another jar's is done."""

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


def test_two_processes_lose_no_coin_to_each_other() -> None:
    """Across processes the ETag decides: who loses a race adds to what the winner saved."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one, other = processor(sidecar), processor(sidecar)
        await asyncio.gather(one.process("CoinPut", coin("c-1")), other.process("CoinPut", coin("c-2")))

    sidecar = play(scenario)

    assert 10 == sidecar.read("jar:a")["state"]["total"]
    assert 3 == sidecar.count("save jar:a")


@pytest.mark.usefixtures("forgetful")
@pytest.mark.parametrize(("finished_max", "published"), [(1, 8), (2, 6)])
def test_what_is_remembered_as_finished_is_bounded(
    monkeypatch: pytest.MonkeyPatch, finished_max: int, published: int
) -> None:
    """The oldest entry is forgotten first; it is only finished once more, with the same ids."""
    monkeypatch.setattr(module, "FINISHED_MAX", finished_max)

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1", jar="a"))
        await one.process("CoinPut", coin("c-2", jar="b"))
        await one.process("CoinPut", coin("c-3", jar="a"))

    sidecar = play(scenario)

    assert published == len(sidecar.published)
    assert 6 == len(set(ids(sidecar)))


def test_a_record_that_this_process_saved_last_is_not_loaded_again() -> None:
    """The secondary record is read all the same: it was written by nobody since, if the ETag holds."""
    sidecar = put("c-1", "c-2")

    assert [*CALLS, "load coin:c-2", "save jar:a", "insert coin:c-2", "publish CoinKept", "publish BellRung"] == (
        sidecar.calls
    )
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_record_that_somebody_else_saved_since_is_loaded() -> None:
    """The store refuses the save, and the decision is made again on what there is."""

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


def test_what_would_not_be_saved_is_decided_on_what_is_there() -> None:
    """A repeated coin is answered from what the store has, not from what was remembered."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1"))
        await one.process("CoinPut", coin("c-2"))
        sidecar.calls.clear()
        await one.process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert "load jar:a" in sidecar.calls
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_step_that_fails_on_what_was_cached_is_a_dead_letter_only_if_it_fails_on_what_is_there() -> None:
    """Somebody else emptied the jar meanwhile."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        await one.process("CoinPut", coin("c-1", 90))
        sidecar.put("jar:a", msgspec.json.encode({"state": {"total": 0, "colour": "none"}, "outbox": {}}))
        await one.process("CoinPut", coin("c-2", 20))

    assert 20 == play(scenario).read("jar:a")["state"]["total"]


def test_what_was_not_finished_is_not_remembered() -> None:
    """The next event finds the outbox in the store, and finishes it first."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = processor(sidecar)
        sidecar.refuse[6] = UNREACHABLE
        with pytest.raises(TransientError):
            await one.process("CoinPut", coin("c-1"))
        await one.process("CoinPut", coin("c-2"))

    sidecar = play(scenario)

    assert ["load jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"] == sidecar.calls[6:10]


def test_an_event_that_begins_its_record_is_saved_at_once_and_loaded_only_on_a_conflict() -> None:
    """Two coins into one new jar: the second one's guess is refused, and changes nothing."""
    is_creation = dataclasses.replace(JARS, is_creation=lambda _: True)

    async def scenario(sidecar: FakeSidecar) -> None:
        await EventProcessor(is_creation, sidecar, lambda: AT).process("CoinPut", coin("c-1"))
        assert ["save jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"] == sidecar.calls
        sidecar.calls.clear()
        await EventProcessor(is_creation, sidecar, lambda: AT).process("CoinPut", coin("c-2"))

    sidecar = play(scenario)

    assert ["save jar:a", "load jar:a"] == sidecar.calls[:2]
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_when_one_of_two_publishes_fails_the_other_is_over_before_the_event_goes_back() -> None:
    """Nothing of an event is under way any more when the broker hands it out again."""

    async def scenario(sidecar: FakeSidecar) -> None:
        sidecar.refuse[5] = UNREACHABLE
        with pytest.raises(SidecarUnavailable):
            await processor(sidecar).process("CoinPut", coin("c-1"))
        assert ["publish CoinKept", "publish BellRung"] == sidecar.calls[4:]
        assert ["BellRung"] == [topic for topic, _ in sidecar.published]

    play(scenario)
