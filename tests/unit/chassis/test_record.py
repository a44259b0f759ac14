"""What may be left to the process that saved it, and what may not."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from chassis.record import LEFT_BYTES_MAX, YOUNG, OutboxEntry, Record, left_to_their_writers

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OUTPUT = msgspec.Raw(b'{"type":"BellRung"}')
MOMENT = timedelta(milliseconds=1)


def entry(writer: str = "another", at: datetime = AT, outputs: int = 1, output: msgspec.Raw = OUTPUT) -> OutboxEntry:
    """What some process saved at some time."""
    return OutboxEntry({}, [output] * outputs, writer, at.isoformat().replace("+00:00", "Z"))


def is_left(one: OutboxEntry) -> bool:
    """Whether we may leave it."""
    return left_to_their_writers({"id": one}, "we", AT) == {"id": one}


@pytest.mark.parametrize("age", [timedelta(0), YOUNG - MOMENT, MOMENT - YOUNG], ids=str)
def test_what_another_process_saved_moments_ago_is_left(age: timedelta) -> None:
    """Also if its clock is a little ahead."""
    assert is_left(entry(at=AT - age))


@pytest.mark.parametrize(
    "one",
    [
        entry(at=AT - YOUNG),
        entry(at=AT + YOUNG),
        entry(writer="we"),
        entry(writer=""),
        entry(outputs=0),
        OutboxEntry({}, [OUTPUT], "another"),
        OutboxEntry({}, [OUTPUT], "another", "yesterday"),
        OutboxEntry({}, [OUTPUT], "another", "2026-01-02T03:04:05"),
    ],
    ids=["old", "from the future", "ours", "unsigned", "nothing to publish", "no time", "not a time", "no zone"],
)
def test_what_is_not_surely_young_and_anothers_is_not_left(one: OutboxEntry) -> None:
    """Whoever loads the record finishes it."""
    assert not is_left(one)


def test_as_much_as_a_record_may_grow_by_is_left_and_no_byte_more() -> None:
    """All of it counts, ids and names too. If it is more none is left: which would be kept is no question."""
    empty = len(msgspec.json.encode({"id": entry(output=msgspec.Raw(b'""'))}))
    full, more = (msgspec.Raw(b'"' + b"x" * (LEFT_BYTES_MAX - empty + extra) + b'"') for extra in (0, 1))

    assert is_left(entry(output=full))
    assert not is_left(entry(output=more))


def test_what_is_left_is_kept_without_its_details() -> None:
    """Whoever leaves it writes them."""
    young = entry()
    young.secondaries = {"coin:c-1": msgspec.Raw(b"{}")}

    assert {"id": entry()} == left_to_their_writers({"id": young}, "we", AT)


def test_a_log_without_writers_can_be_read() -> None:
    """As a process of another language writes it, or one of ours before there were writers."""
    record = msgspec.json.decode(b'{"state":null,"outbox":{"id":{"secondaries":{},"outputs":[]}}}', type=Record)

    assert ("", "") == (record.outbox["id"].writer, record.outbox["id"].time)
