"""Erasure: the record, its secondary records, its outbox and the dead letters lose the data."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from sidecart.chassis.dead_letters import EVENT_BYTES_MAX, DeadLetters
from sidecart.chassis.erasure import ErasingProcessor
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.events import Received
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.service import Service, Step
from sidecart.chassis.speculation import SpeculativeProcessor
from tests.unit.chassis.fakes import FakeSidecar

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
READER = "00000000-0000-4000-8000-00000000000a"
FULL = {"reader_id": READER, "address": "a@b.c"}
OTHER = "00000000-0000-4000-8000-00000000000b"
GONE = {"reader_id": READER, "address": ""}


@dataclass(frozen=True, slots=True)
class Joined:
    """A reader joined the library."""

    reader_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Left:
    """A reader left the library and is forgotten."""

    reader_id: str


@dataclass(frozen=True, slots=True)
class Welcomed:
    """A letter to the reader."""

    reader_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Reader:
    """The state, and the secondary record."""

    reader_id: str
    address: str


def step(state: Reader | None, secondary: Reader | None, received: Received[Joined | Left]) -> Step[Reader]:
    """Keep the address of a reader until the reader leaves."""
    event = received.event
    if isinstance(event, Left):
        gone = Reader(event.reader_id, "")
        if secondary == gone:
            return Step(state, outputs=(Left(event.reader_id),))
        return Step(gone, outputs=(Left(event.reader_id),), erased={f"card:{event.reader_id}": gone})
    if state is not None and not state.address:
        return Step(state, {f"card:{event.reader_id}": Reader(event.reader_id, event.address)})
    reader = Reader(event.reader_id, event.address)
    return Step(reader, {f"card:{event.reader_id}": reader}, (Welcomed(event.reader_id, event.address),))


LIBRARY: Service[Reader, Joined | Left] = Service(
    name="library",
    inputs={"Joined": Joined, "Left": Left},
    publishers={"Joined": "gateway", "Left": "gateway"},
    state=Reader,
    secondaries={"card": Reader},
    is_creation=lambda event: isinstance(event, Joined),
    key=lambda event: f"reader:{event.reader_id}",
    secondary_key=lambda event: f"card:{event.reader_id}",
    step=step,
    subject=lambda output: output.reader_id,
    erasures={"Left": "reader_id"},
    personal={"Joined": "reader_id"},
)


def event(kind: str, number: int, **data: Any) -> bytes:
    """Return an event with this number."""
    id_ = str(UUID(int=number))
    return msgspec.json.encode({"id": id_, "type": kind, "source": "gateway", "correlationid": id_, "data": data})


JOINED = event("Joined", 1, **FULL)
LEFT = event("Left", 2, reader_id=READER)


def processor(sidecar: FakeSidecar, name: str = "one") -> SpeculativeProcessor[Reader, Joined | Left]:
    """Return the event processor of one process."""
    return SpeculativeProcessor(LIBRARY, sidecar, lambda: AT, name)


def values(sidecar: FakeSidecar) -> bytes:
    """Return all records of the store, as bytes."""
    return b"\n".join(value for value, _ in sidecar.records.values())


def play(sidecar: FakeSidecar, *events: tuple[str, bytes]) -> None:
    """Process events one after another, in one process."""

    async def run() -> None:
        one = processor(sidecar)
        for topic, body in events:
            await one.process(topic, body)

    asyncio.run(run())


def test_an_erasure_overwrites_the_secondary_record_and_drops_the_outbox() -> None:
    """No record has the address afterwards."""
    sidecar = FakeSidecar()

    play(sidecar, ("Joined", JOINED), ("Left", LEFT))

    assert GONE == sidecar.read(f"card:{READER}") == sidecar.read(f"reader:{READER}")["state"]
    assert b"a@b.c" not in values(sidecar)
    assert ["Welcomed", "Left"] == [topic for topic, _ in sidecar.published]


def test_an_erased_record_is_saved_before_the_secondary_record_is_overwritten() -> None:
    """A process that dies in between has the rest of the work in the outbox."""
    sidecar = FakeSidecar()
    play(sidecar, ("Joined", JOINED))
    sidecar.refuse[len(sidecar.calls) + 7] = SidecarUnavailable("unreachable")
    with pytest.raises(SidecarUnavailable):
        play(sidecar, ("Left", LEFT))
    assert (FULL, GONE) == (sidecar.read(f"card:{READER}"), sidecar.read(f"reader:{READER}")["state"])

    play(sidecar, ("Left", LEFT))

    assert GONE == sidecar.read(f"card:{READER}")


def test_any_order_leaves_the_same_records() -> None:
    """An insert keeps the erased form, and an erased form is written where nothing is."""
    sidecar = FakeSidecar()

    play(sidecar, ("Left", LEFT), ("Joined", JOINED), ("Left", LEFT), ("Joined", event("Joined", 3, **FULL)))

    assert GONE == sidecar.read(f"card:{READER}") == sidecar.read(f"reader:{READER}")["state"]
    assert b"a@b.c" not in values(sidecar)


def test_a_repeated_erasure_writes_nothing_new() -> None:
    """Its outputs are published again, for a consumer that missed them."""
    sidecar = FakeSidecar()
    play(sidecar, ("Joined", JOINED), ("Left", LEFT))
    versions = {key: version for key, (_, version) in sidecar.records.items()}

    play(sidecar, ("Left", event("Left", 4, reader_id=READER)))

    assert versions == {key: version for key, (_, version) in sidecar.records.items()}
    assert [2, 2, 4] == [UUID(event["correlationid"]).int for topic, event in sidecar.published if topic == "Left"]


def test_an_erasure_is_saved_even_if_the_state_stays() -> None:
    """Its save conflicts with that of data that arrives at the same time."""
    sidecar = FakeSidecar()

    def join() -> None:
        other = {"state": FULL, "outbox": {}}
        sidecar.put(f"reader:{READER}", msgspec.json.encode(other))

    sidecar.before[3] = join  # after the loads, before the save
    play(sidecar, ("Left", LEFT))

    assert GONE == sidecar.read(f"card:{READER}") == sidecar.read(f"reader:{READER}")["state"]


def test_an_erasure_keeps_no_entry_of_another_process() -> None:
    """It publishes the deferred outputs itself, because they have the address."""
    sidecar = FakeSidecar()
    play(sidecar, ("Joined", JOINED))

    asyncio.run(processor(sidecar, "two").process("Left", LEFT))

    assert [str(UUID(int=2))] == list(sidecar.read(f"reader:{READER}")["outbox"])
    assert ["Welcomed", "Welcomed", "Left"] == [topic for topic, _ in sidecar.published]


def letters(sidecar: FakeSidecar) -> DeadLetters:
    """Return the dead letters of the service."""
    return DeadLetters(sidecar, lambda: AT)


def handle(sidecar: FakeSidecar, body: bytes, erase_more: Callable[[str], Any] | None = None) -> None:
    """Process a Left with everything that follows."""
    made: EventProcessor[Any, Any] = processor(sidecar)
    asyncio.run(ErasingProcessor(LIBRARY, made, letters(sidecar), erase_more).process("Left", body))


def test_the_dead_letters_of_the_person_lose_their_events() -> None:
    """Only those of personal topics: another one may still be replayed."""
    sidecar = FakeSidecar()

    async def write() -> None:
        await letters(sidecar).write("Joined", JOINED, "no: a@b.c is odd", "")
        await letters(sidecar).write("Joined", event("Joined", 5, reader_id=OTHER, address="x@y.z"), "no", "")
        await letters(sidecar).write("Left", event("Left", 6, reader_id=READER), "no", "")
        await letters(sidecar).write("Joined", b"\xff" + JOINED, "no", "")

    asyncio.run(write())

    handle(sidecar, LEFT)

    erased = sidecar.read(f"dead:{UUID(int=1)}")
    assert ("", "no", "erased") == (erased["event"], erased["reason"], erased["status"])
    assert "x@y.z" in sidecar.read(f"dead:{UUID(int=5)}")["event"]
    assert "status" not in sidecar.read(f"dead:{UUID(int=6)}")
    assert b"a@b.c" not in values(sidecar)
    assert 2 == sum(b'"erased"' in value for key, (value, _) in sidecar.records.items() if key.startswith("dead:"))


def test_a_dead_letter_that_names_no_person_loses_its_event() -> None:
    """A cut event of a personal topic may be that of the person, and cannot be replayed."""
    sidecar = FakeSidecar()
    long = event("Joined", 7, address="a@b.c", more="x" * EVENT_BYTES_MAX, reader_id=READER)
    unnamed = event("Joined", 8, address="a@b.c")

    async def write() -> None:
        for body in (long, unnamed):
            await letters(sidecar).write("Joined", body, "no", "")

    asyncio.run(write())
    assert READER not in sidecar.read(f"dead:{UUID(int=7)}")["event"]

    handle(sidecar, LEFT)

    assert b"a@b.c" not in values(sidecar)


@pytest.mark.parametrize(("status", "is_erased"), [("discarded", True), ("replayed", True), ("replaying", False)])
def test_a_settled_dead_letter_of_another_topic_loses_its_event(status: str, is_erased: bool) -> None:
    """It is not replayed any more, and may hold a field that its contract does not have."""
    sidecar, key = FakeSidecar(), f"dead:{UUID(int=9)}"
    body = event("Left", 9, reader_id=READER, address="a@b.c")
    asyncio.run(letters(sidecar).write("Left", body, "no", ""))
    sidecar.put(key, msgspec.json.encode(sidecar.read(key) | {"status": status}))

    handle(sidecar, LEFT)

    assert is_erased == ("erased" == sidecar.read(key)["status"])
    assert is_erased != ("a@b.c" in sidecar.read(key)["event"])


def test_an_erased_dead_letter_stays_erased() -> None:
    """The same event fails once more, late."""
    sidecar = FakeSidecar()
    asyncio.run(letters(sidecar).write("Joined", JOINED, "no", ""))
    handle(sidecar, LEFT)

    asyncio.run(letters(sidecar).write("Joined", JOINED, "no", ""))

    assert "erased" == sidecar.read(f"dead:{UUID(int=1)}")["status"]
    assert b"a@b.c" not in values(sidecar)


def test_the_service_erases_more_after_the_record() -> None:
    """A copy that is written later finds the erased record."""
    sidecar = FakeSidecar()
    seen: list[tuple[str, dict[str, str]]] = []

    async def erase_more(person: str) -> None:
        seen.append((person, sidecar.read(f"reader:{READER}")["state"]))

    play(sidecar, ("Joined", JOINED))
    handle(sidecar, LEFT, erase_more)

    assert [(READER, GONE)] == seen


def test_a_step_without_an_erasure_keeps_its_form_on_the_wire() -> None:
    """Entries of other steps have no field `erased`."""
    sidecar = FakeSidecar()

    play(sidecar, ("Joined", JOINED))

    [entry] = sidecar.read(f"reader:{READER}")["outbox"].values()
    assert "erased" not in entry
    assert str(uuid5(UUID(int=1), "libraryWelcomed0")) == sidecar.published[0][1]["id"]
