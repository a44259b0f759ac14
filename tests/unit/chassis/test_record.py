"""What may be left to the process that saved it, and what may not."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chassis.record import DEFERRED_BYTES_MAX, FRESH, OutboxEntry, Record, deferred_to_their_writers

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OUTPUT = msgspec.Raw(b'{"type":"BellRung"}')
MOMENT = timedelta(milliseconds=1)


def entry(writer: str = "another", at: datetime = AT, outputs: int = 1, output: msgspec.Raw = OUTPUT) -> OutboxEntry:
    """What some process saved at some time."""
    return OutboxEntry({}, [output] * outputs, writer, at.isoformat().replace("+00:00", "Z"))


def is_deferred(one: OutboxEntry) -> bool:
    """Whether we may leave it."""
    return deferred_to_their_writers({"id": one}, "we", AT) == {"id": one}


@pytest.mark.parametrize("age", [timedelta(0), FRESH - MOMENT, MOMENT - FRESH], ids=str)
def test_what_another_process_saved_moments_ago_is_left(age: timedelta) -> None:
    """Also if its clock is a little ahead."""
    assert is_deferred(entry(at=AT - age))


@pytest.mark.parametrize(
    "one",
    [
        entry(at=AT - FRESH),
        entry(at=AT + FRESH),
        entry(writer="we"),
        entry(writer=""),
        entry(outputs=0),
        OutboxEntry({}, [OUTPUT], "another"),
        OutboxEntry({}, [OUTPUT], "another", "yesterday"),
        OutboxEntry({}, [OUTPUT], "another", "2026-01-02T03:04:05"),
    ],
    ids=["old", "from the future", "ours", "unsigned", "nothing to publish", "no time", "not a time", "no zone"],
)
def test_an_entry_that_is_not_surely_fresh_and_anothers_is_not_deferred(one: OutboxEntry) -> None:
    """Whoever loads the record finishes it."""
    assert not is_deferred(one)


def test_as_much_as_a_record_may_grow_by_is_left_and_no_byte_more() -> None:
    """All of it counts, ids and names too. If it is more none is left: which would be kept is no question."""
    empty = len(msgspec.json.encode({"id": entry(output=msgspec.Raw(b'""'))}))
    full, more = (msgspec.Raw(b'"' + b"x" * (DEFERRED_BYTES_MAX - empty + extra) + b'"') for extra in (0, 1))

    assert is_deferred(entry(output=full))
    assert not is_deferred(entry(output=more))


def test_what_is_deferred_is_kept_without_its_secondary_records() -> None:
    """Whoever leaves it writes them."""
    fresh = entry()
    fresh.secondaries = {"coin:c-1": msgspec.Raw(b"{}")}

    assert {"id": entry()} == deferred_to_their_writers({"id": fresh}, "we", AT)


def test_an_outbox_without_writers_can_be_read() -> None:
    """As a process of another language writes it, or one of ours before there were writers."""
    record = msgspec.json.decode(b'{"state":null,"outbox":{"id":{"secondaries":{},"outputs":[]}}}', type=Record)

    assert ("", "") == (record.outbox["id"].writer, record.outbox["id"].time)
