"""Dead letters: each is kept once, with its reason, and listed once, in pages."""

import asyncio
import base64
import uuid
from datetime import UTC, datetime
from uuid import UUID, uuid5

import msgspec
import pytest

from chassis import paged_index
from chassis.dead_letters import ESCAPE_BYTES_MAX, EVENT_BYTES_MAX, RAW_BYTES_MAX, DeadLetters, letter_id
from chassis.errors import Conflict, SidecarUnavailable, TransientError
from tests.unit.chassis.fakes import FakeSidecar

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def numbered(number: int) -> str:
    """The id of one of many events."""
    return str(UUID(int=number))


def body(number: int) -> bytes:
    """One of many events."""
    return msgspec.json.encode({"id": numbered(number), "data": 1})


def write(sidecar: FakeSidecar, *bodies: bytes, reason: str = "malformed") -> None:
    """Write these letters, one after the other, by one process that was just started."""

    async def scenario() -> None:
        letters = DeadLetters(sidecar, lambda: AT)
        for each in bodies:
            await letters.write("Lamp", each, reason, TRACE)

    asyncio.run(scenario())


def test_a_letter_keeps_the_event_and_why_it_is_there() -> None:
    """All that somebody needs to mend it and to send it again, and its id is listed."""
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


def test_the_same_letter_twice_is_one() -> None:
    """The first one's reason stays, and the index names it once; a restart changes nothing."""
    sidecar = FakeSidecar()

    write(sidecar, body(1), body(1), reason="first")
    write(sidecar, body(1), reason="second")

    assert "first" == sidecar.read(f"dead:{numbered(1)}")["reason"]
    assert {"ids": [numbered(1)]} == sidecar.read("dead-index:0")


@pytest.mark.parametrize("status", ["replaying", "replayed", "discarded"])
def test_a_letter_that_was_dealt_with_is_open_again_when_its_event_fails_again(status: str) -> None:
    """With the new reason, listed once; the trace stays if the new delivery has none."""
    sidecar = FakeSidecar()
    write(sidecar, body(1), reason="first")
    key = f"dead:{numbered(1)}"
    sidecar.put(key, msgspec.json.encode({**sidecar.read(key), "status": status}))

    async def again() -> None:
        await DeadLetters(sidecar, lambda: AT).write("Lamp", body(1), "second", "")

    asyncio.run(again())

    letter = sidecar.read(key)
    assert ("second", TRACE, None) == (letter["reason"], letter["traceparent"], letter.get("status"))
    assert {"ids": [numbered(1)]} == sidecar.read("dead-index:0")


def test_a_letter_that_is_settled_at_the_same_moment_is_not_lost() -> None:
    """Its mark was written between our look and our write: look again."""
    sidecar = FakeSidecar()
    write(sidecar, body(1))
    key = f"dead:{numbered(1)}"
    replaying = msgspec.json.encode({**sidecar.read(key), "status": "replaying"})
    replayed = msgspec.json.encode({**sidecar.read(key), "status": "replayed"})
    sidecar.put(key, replaying)
    sidecar.before[len(sidecar.calls) + 3] = lambda: sidecar.put(key, replayed)  # insert, load, save

    write(sidecar, body(1), reason="again")

    assert ("again", None) == (sidecar.read(key)["reason"], sidecar.read(key).get("status"))


def test_a_page_of_the_index_holds_a_hundred() -> None:
    """The next one begins a new page; a process that starts later finds its place."""
    sidecar = FakeSidecar()

    write(sidecar, *(body(number) for number in range(101)))
    write(sidecar, body(101), body(3))

    assert [numbered(number) for number in range(100)] == sidecar.read("dead-index:0")["ids"]
    assert [numbered(100), numbered(101)] == sidecar.read("dead-index:1")["ids"]
    assert 2 == sum(key.startswith("dead-index:") for key in sidecar.records)


def test_letters_written_at_once_leave_no_gap_in_the_index() -> None:
    """Each finds the first page that is not full, also while the others look for it."""
    sidecar = FakeSidecar()
    write(sidecar, *(body(number) for number in range(100)))

    async def scenario() -> None:
        letters = DeadLetters(sidecar, lambda: AT)
        await asyncio.gather(*(letters.write("Lamp", body(number), "malformed", TRACE) for number in range(100, 104)))

    asyncio.run(scenario())

    assert {numbered(number) for number in range(100, 104)} == set(sidecar.read("dead-index:1")["ids"])
    assert "dead-index:2" not in sidecar.records


def test_a_conflict_on_the_index_loses_no_id() -> None:
    """Another process listed its letter first; both are there."""
    sidecar = FakeSidecar()
    theirs = msgspec.json.encode({"ids": [numbered(2)]})
    sidecar.before[3] = lambda: sidecar.put("dead-index:0", theirs)

    write(sidecar, body(1))

    assert {"ids": [numbered(2), numbered(1)]} == sidecar.read("dead-index:0")


def test_an_index_that_is_always_lost_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event comes again, and the letter is found written."""
    monkeypatch.setattr(paged_index, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    sidecar.refuse = {3: Conflict("lost"), 5: Conflict("lost")}

    with pytest.raises(TransientError):
        write(sidecar, body(1))

    assert 2 == sidecar.count("save dead-index:0")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("kind", ["refuse", "lose"])
def test_a_letter_that_could_not_be_written_is_whole_after_the_redelivery(number: int, kind: str) -> None:
    """A sidecar that goes away at any call leaves nothing that the repetition does not complete."""
    sidecar, expected = FakeSidecar(), FakeSidecar()
    getattr(sidecar, kind)[number] = SidecarUnavailable("unreachable")

    with pytest.raises(TransientError):
        write(sidecar, body(1))
    write(sidecar, body(1))
    write(expected, body(1))

    assert expected.records == sidecar.records


@pytest.mark.parametrize("bytes_", [b"", b"{", b"\xff", b"[]", b'{"id": "x"}', b'{"id": 1}', b"[" * 100_000])
def test_an_event_without_an_id_gets_one_from_its_bytes(bytes_: bytes) -> None:
    """The same bytes on the same topic are the same letter, in any language."""
    namespace = UUID("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11")

    expected = str(uuid5(namespace, "Lamp" + base64.b64encode(bytes_).decode()))
    assert expected == letter_id("Lamp", bytes_)


def test_other_bytes_and_other_topics_are_other_letters() -> None:
    """Two events without an id never hide each other."""
    assert 3 == len({letter_id("Lamp", b"1"), letter_id("Lamp", b"2"), letter_id("Lantern", b"1")})


def test_the_events_own_id_is_the_letters() -> None:
    """Written as everybody writes it, so that two spellings are one letter."""
    own = uuid.UUID("0192f0c1-2a3b-7c4d-8e5f-60718293a4b5")

    assert str(own) == letter_id("Lamp", msgspec.json.encode({"id": str(own).upper()}))


def test_of_a_long_event_the_beginning_is_kept() -> None:
    """No more than a record takes; the reason is cut too."""
    sidecar = FakeSidecar()
    event = "é" * (EVENT_BYTES_MAX // 2)

    write(sidecar, event.encode(), reason="r" * 5_000)

    letter = sidecar.read(f"dead:{letter_id('Lamp', event.encode())}")
    assert event[: EVENT_BYTES_MAX // ESCAPE_BYTES_MAX] == letter["event"]
    assert "r" * 1_000 == letter["reason"]


def test_a_long_event_that_fits_is_kept_whole() -> None:
    """So that it can be looked at, and repeated."""
    sidecar = FakeSidecar()
    event = "é" * (EVENT_BYTES_MAX // 2 - 1)  # with its quotation marks as long as may be

    write(sidecar, event.encode())

    assert event == sidecar.read(f"dead:{letter_id('Lamp', event.encode())}")["event"]


@pytest.mark.parametrize("event", [b"a\xffb", b'{"x": "\xed\xa0\x80"}', b"\xff" * (RAW_BYTES_MAX + 1)])
def test_what_is_not_text_is_kept_in_base64(event: bytes) -> None:
    """To the byte, as far as a record takes it; a letter is JSON, whatever its event was."""
    sidecar = FakeSidecar()

    write(sidecar, event)

    letter = sidecar.read(f"dead:{letter_id('Lamp', event)}")
    assert event[:RAW_BYTES_MAX] == base64.b64decode(letter["event_base64"], validate=True)
    assert "event" not in letter
    assert len(letter["event_base64"]) <= EVENT_BYTES_MAX
