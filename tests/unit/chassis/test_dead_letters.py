"""Dead letters: each event is stored once with its reason, and listed once in the paged index."""

import asyncio
import base64
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID, uuid5

import msgspec
import pytest

from sidecart.chassis import store
from sidecart.chassis.dead_letters import (
    ESCAPE_BYTES_MAX,
    EVENT_BYTES_MAX,
    RAW_BYTES_MAX,
    DeadLetters,
    letter_id,
)
from sidecart.chassis.errors import Conflict, SidecarUnavailable, TransientError
from tests.unit.chassis.fakes import FakeSidecar

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def numbered(number: int) -> str:
    """Return the id of event `number`."""
    return str(UUID(int=number))


def body(number: int) -> bytes:
    """Return the body of event `number`."""
    return msgspec.json.encode({"id": numbered(number), "data": 1})


def write(sidecar: FakeSidecar, *bodies: bytes, reason: str = "malformed") -> None:
    """Write these events as dead letters, one after another, in a new process."""

    async def scenario() -> None:
        letters = DeadLetters(sidecar, lambda: AT)
        for each in bodies:
            await letters.write("Lamp", each, reason, TRACE)

    asyncio.run(scenario())


def test_a_dead_letter_has_the_event_and_the_reason() -> None:
    """A dead letter holds the event, topic, reason, time and trace, and its id is listed."""
    sidecar = FakeSidecar()

    write(sidecar, body(1))

    expected = {
        "event": body(1).decode(),
        "topic": "Lamp",
        "reason": "malformed",
        "time": "2026-01-02T03:04:05.000Z",
        "traceparent": TRACE,
    }
    assert expected == sidecar.read(f"dead:{numbered(1)}")
    assert {"ids": [numbered(1)]} == sidecar.read("dead-index:0")


def test_a_repeated_event_is_one_dead_letter() -> None:
    """A repeated event keeps the first reason and is listed once, even after a restart."""
    sidecar = FakeSidecar()

    write(sidecar, body(1), body(1), reason="first")
    write(sidecar, body(1), reason="second")

    assert "first" == sidecar.read(f"dead:{numbered(1)}")["reason"]
    assert {"ids": [numbered(1)]} == sidecar.read("dead-index:0")


@pytest.mark.parametrize("status", ["replaying", "replayed", "discarded"])
def test_a_closed_dead_letter_is_opened_again_when_its_event_fails_again(status: str) -> None:
    """The opened letter has the new reason, and the old trace if the new delivery has none."""
    sidecar = FakeSidecar()
    write(sidecar, body(1), reason="first")
    key = f"dead:{numbered(1)}"
    sidecar.put(key, msgspec.json.encode({**sidecar.read(key), "status": status}))

    async def again() -> None:
        await DeadLetters(sidecar, lambda: AT).write("Lamp", body(1), "second", "")

    asyncio.run(again())

    letter = sidecar.read(key)
    assert ("second", TRACE, None) == (letter["reason"], letter["traceparent"], letter.get("status"))
    assert "2026-01-02T03:04:05.000Z" == letter["first_time"]
    assert {"ids": [numbered(1)]} == sidecar.read("dead-index:0")


def test_a_letter_that_is_opened_again_keeps_its_first_time() -> None:
    """Also after several replays."""
    sidecar, key = FakeSidecar(), f"dead:{numbered(1)}"
    times = [AT + timedelta(hours=number) for number in range(3)]
    for at in times:
        asyncio.run(DeadLetters(sidecar, partial(at.astimezone, UTC)).write("Lamp", body(1), "why", ""))
        sidecar.put(key, msgspec.json.encode({**sidecar.read(key), "status": "replaying"}))

    letter = sidecar.read(key)
    assert [times[0], times[-1]] == [datetime.fromisoformat(letter[name]) for name in ("first_time", "time")]


@pytest.mark.parametrize(
    ("status", "after"),
    [("replaying", "replayed"), (None, None), ("discarded", "discarded"), ("erased", "erased")],
)
def test_only_a_letter_that_is_being_replayed_is_settled(status: str | None, after: str | None) -> None:
    """A second delivery of an event that failed again does not close its dead letter."""
    sidecar, key = FakeSidecar(), f"dead:{numbered(1)}"
    write(sidecar, body(1))
    if status is not None:
        sidecar.put(key, msgspec.json.encode({**sidecar.read(key), "status": status}))

    asyncio.run(DeadLetters(sidecar, lambda: AT).settle("Lamp", body(1)))
    asyncio.run(DeadLetters(sidecar, lambda: AT).settle("Lamp", body(2)))

    assert after == sidecar.read(key).get("status")
    assert f"dead:{numbered(2)}" not in sidecar.records


def test_a_dead_letter_whose_status_changes_concurrently_is_opened_again() -> None:
    """A status written between the load and the save causes a conflict and another attempt."""
    sidecar = FakeSidecar()
    write(sidecar, body(1))
    key = f"dead:{numbered(1)}"
    replaying = msgspec.json.encode({**sidecar.read(key), "status": "replaying"})
    replayed = msgspec.json.encode({**sidecar.read(key), "status": "replayed"})
    sidecar.put(key, replaying)
    # The calls are insert, load and save.
    sidecar.before[len(sidecar.calls) + 3] = lambda: sidecar.put(key, replayed)

    write(sidecar, body(1), reason="again")

    assert ("again", None) == (sidecar.read(key)["reason"], sidecar.read(key).get("status"))


def test_a_page_of_the_index_holds_a_hundred() -> None:
    """Id 101 starts a new page, and a new process finds the page with room."""
    sidecar = FakeSidecar()

    write(sidecar, *(body(number) for number in range(101)))
    write(sidecar, body(101), body(3))

    assert [numbered(number) for number in range(100)] == sidecar.read("dead-index:0")["ids"]
    assert [numbered(100), numbered(101)] == sidecar.read("dead-index:1")["ids"]
    assert 2 == sum(key.startswith("dead-index:") for key in sidecar.records)


def test_concurrent_dead_letters_leave_no_gap_in_the_index() -> None:
    """Concurrent writers find the same first page with room."""
    sidecar = FakeSidecar()
    write(sidecar, *(body(number) for number in range(100)))

    async def scenario() -> None:
        letters = DeadLetters(sidecar, lambda: AT)
        await asyncio.gather(*(letters.write("Lamp", body(number), "malformed", TRACE) for number in range(100, 104)))

    asyncio.run(scenario())

    assert {numbered(number) for number in range(100, 104)} == set(sidecar.read("dead-index:1")["ids"])
    assert "dead-index:2" not in sidecar.records


def test_a_conflict_on_the_index_loses_no_id() -> None:
    """After a conflict on the index page, the ids of both processes are listed."""
    sidecar = FakeSidecar()
    theirs = msgspec.json.encode({"ids": [numbered(2)]})
    sidecar.before[3] = lambda: sidecar.put("dead-index:0", theirs)

    write(sidecar, body(1))

    assert {"ids": [numbered(2), numbered(1)]} == sidecar.read("dead-index:0")


def test_repeated_conflicts_on_the_index_are_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """After too many conflicts the event is left to a redelivery."""
    monkeypatch.setattr(store, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    sidecar.refuse = {3: Conflict("lost"), 5: Conflict("lost")}

    with pytest.raises(TransientError):
        write(sidecar, body(1))

    assert 2 == sidecar.count("save dead-index:0")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", ["refuse", "lose"])
def test_a_redelivery_completes_a_dead_letter_after_a_failure_at_any_call(number: int, kind: str) -> None:
    """A failure at any call leaves nothing that the redelivery does not complete."""
    sidecar, expected = FakeSidecar(), FakeSidecar()
    getattr(sidecar, kind)[number] = SidecarUnavailable("unreachable")

    with pytest.raises(TransientError):
        write(sidecar, body(1))
    write(sidecar, body(1))
    write(expected, body(1))

    assert expected.records == sidecar.records


@pytest.mark.parametrize("bytes_", [b"", b"{", b"\xff", b"[]", b'{"id": "x"}', b'{"id": 1}', b"[" * 100_000])
def test_an_event_without_an_id_gets_one_from_its_bytes(bytes_: bytes) -> None:
    """The id of an event without an id is a UUID of version 5 over its topic and bytes."""
    namespace = UUID("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11")

    expected = str(uuid5(namespace, "Lamp" + base64.b64encode(bytes_).decode()))
    assert expected == letter_id("Lamp", bytes_)


def test_other_bytes_or_topics_are_other_dead_letters() -> None:
    """Two events without an id have different dead letters if their bytes or topics differ."""
    assert 3 == len({letter_id("Lamp", b"1"), letter_id("Lamp", b"2"), letter_id("Lantern", b"1")})


def test_the_id_of_a_dead_letter_is_that_of_its_event() -> None:
    """The id is normalized to lower case, so that two spellings are one dead letter."""
    own = uuid.UUID("0192f0c1-2a3b-7c4d-8e5f-60718293a4b5")

    assert str(own) == letter_id("Lamp", msgspec.json.encode({"id": str(own).upper()}))


def test_a_long_event_and_a_long_reason_are_truncated() -> None:
    """An event that is too long for a record is truncated, and so is a long reason."""
    sidecar = FakeSidecar()
    event = "é" * (EVENT_BYTES_MAX // 2)

    write(sidecar, event.encode(), reason="r" * 5_000)

    letter = sidecar.read(f"dead:{letter_id('Lamp', event.encode())}")
    assert event[: EVENT_BYTES_MAX // ESCAPE_BYTES_MAX] == letter["event"]
    assert "r" * 1_000 == letter["reason"]


def test_the_longest_event_that_fits_is_stored_whole() -> None:
    """An event of exactly the maximum size is stored whole, so that it can be replayed."""
    sidecar = FakeSidecar()
    event = "é" * (EVENT_BYTES_MAX // 2 - 1)  # the maximum, with the two quotation marks

    write(sidecar, event.encode())

    assert event == sidecar.read(f"dead:{letter_id('Lamp', event.encode())}")["event"]


@pytest.mark.parametrize("event", [b"a\xffb", b'{"x": "\xed\xa0\x80"}', b"\xff" * (RAW_BYTES_MAX + 1)])
def test_an_event_that_is_not_utf_8_is_stored_in_base64(event: bytes) -> None:
    """Bytes that are not UTF-8 are stored in base64, up to the maximum size."""
    sidecar = FakeSidecar()

    write(sidecar, event)

    letter = sidecar.read(f"dead:{letter_id('Lamp', event)}")
    assert event[:RAW_BYTES_MAX] == base64.b64decode(letter["event_base64"], validate=True)
    assert "event" not in letter
    assert len(letter["event_base64"]) <= EVENT_BYTES_MAX
