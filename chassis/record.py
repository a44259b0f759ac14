"""The record that the event processor stores under one key: the state and its outbox.

The outbox holds the unfinished work of events that were decided. Each outbox entry names its
writer. A fresh entry from another process is probably being published; the processor defers it to
that process, which publishes it. The next save keeps a deferred entry in the outbox, so that a dead
writer loses nothing. The writer itself drops the entry, because it knows that the entry is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

NOTHING = msgspec.Raw(b"null")
FRESH = timedelta(seconds=10)  # by then a live writer has published, or its event is redelivered
DEFERRED_BYTES_MAX = 8 * 2**10  # of all deferred entries of a record, as JSON: bounds its growth


class OutboxEntry(msgspec.Struct):
    """The unfinished work of one event; the process `writer` saved it at `time` (RFC 3339, UTC)."""

    secondaries: dict[str, msgspec.Raw]
    outputs: list[msgspec.Raw]
    writer: str = ""
    time: str = ""


class Record(msgspec.Struct):
    """The state and the outbox, saved together."""

    state: msgspec.Raw = NOTHING
    outbox: dict[str, OutboxEntry] = {}


def deferred_to_their_writers(
    unfinished: Mapping[str, OutboxEntry], reader: str, now: datetime
) -> dict[str, OutboxEntry]:
    """Return the entries that the process `reader` keeps in the outbox instead of publishing them.

    These are fresh entries of other processes that have outputs, without their secondary records.
    The result is empty if its JSON exceeds `DEFERRED_BYTES_MAX`. An entry without a writer is never
    deferred.
    """
    deferred = {
        event_id: OutboxEntry({}, entry.outputs, entry.writer, entry.time)
        for event_id, entry in unfinished.items()
        if entry.outputs and entry.writer not in ("", reader) and _is_fresh(entry, now)
    }
    return deferred if len(msgspec.json.encode(deferred)) <= DEFERRED_BYTES_MAX else {}


def _is_fresh(entry: OutboxEntry, now: datetime) -> bool:
    """Return whether the entry is fresh.

    Clocks differ between machines, so a time in the future counts like the same time in the past.
    """
    try:
        return abs(now - datetime.fromisoformat(entry.time)) < FRESH
    except (ValueError, TypeError):  # no time, or no time zone: treat it as old, and finish it
        return False
