"""Outbox entries: which ones are deferred to their writers."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from sidecart.chassis.deferral import DEFERRED_BYTES_MAX, FRESH, deferred_to_their_writers
from sidecart.chassis.record import OutboxEntry, Record

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OUTPUT = msgspec.Raw(b'{"type":"BellRung"}')
MOMENT = timedelta(milliseconds=1)


def entry(writer: str = "another", at: datetime = AT, outputs: int = 1, output: msgspec.Raw = OUTPUT) -> OutboxEntry:
    """Return an entry that a process saved at a time."""
    return OutboxEntry({}, [output] * outputs, writer, at.isoformat().replace("+00:00", "Z"))


def is_deferred(one: OutboxEntry) -> bool:
    """Return whether another process defers this entry."""
    return deferred_to_their_writers({"id": one}, "we", AT) == {"id": one}


@pytest.mark.parametrize("age", [timedelta(0), FRESH - MOMENT, MOMENT - FRESH], ids=str)
def test_a_fresh_entry_of_another_process_is_deferred(age: timedelta) -> None:
    """A fresh entry is deferred, even if the clock of its writer is slightly ahead."""
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
def test_other_entries_are_not_deferred(one: OutboxEntry) -> None:
    """An entry that is old, unsigned, empty, own or without a valid time is not deferred."""
    assert not is_deferred(one)


def test_deferred_entries_are_limited_to_the_byte() -> None:
    """If the JSON of all entries exceeds `DEFERRED_BYTES_MAX`, none is deferred."""
    empty = len(msgspec.json.encode({"id": entry(output=msgspec.Raw(b'""'))}))
    full, more = (msgspec.Raw(b'"' + b"x" * (DEFERRED_BYTES_MAX - empty + extra) + b'"') for extra in (0, 1))

    assert is_deferred(entry(output=full))
    assert not is_deferred(entry(output=more))


def test_a_deferred_entry_has_no_secondary_records() -> None:
    """A deferred entry has no secondary records, because the deferring process writes them."""
    fresh = entry()
    fresh.secondaries = {"coin:c-1": msgspec.Raw(b"{}")}

    assert {"id": entry()} == deferred_to_their_writers({"id": fresh}, "we", AT)


def test_an_outbox_without_writers_can_be_read() -> None:
    """An entry without writer and time, from another implementation or an old version, is valid."""
    record = msgspec.json.decode(b'{"state":null,"outbox":{"id":{"secondaries":{},"outputs":[]}}}', type=Record)

    assert ("", "") == (record.outbox["id"].writer, record.outbox["id"].time)
