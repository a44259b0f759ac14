"""What the event processor keeps under one key: the state, and an outbox of what is still to do for the events that
were decided.

An entry says whose it is. What another process saved moments ago it is most likely publishing right now, and that may
be deferred to it: kept in the outbox by whoever saves next, so that nothing is lost if that process is dead, and
dropped by its writer, who knows that it is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

NOTHING = msgspec.Raw(b"null")
FRESH = timedelta(seconds=10)  # a writer that lives has published by then, or its event comes again
DEFERRED_BYTES_MAX = 8 * 2**10  # of what is deferred to others in one record, as JSON: it grows by this and no more


class OutboxEntry(msgspec.Struct):
    """What one saved event still has to do; `writer` names the process that saved it at `time` (RFC 3339, UTC)."""

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
    """What the process `reader` keeps in the outbox instead of publishing it: others' fresh entries, without
    secondary records.

    Nothing if it is large together, nothing that nobody signed, nothing without outputs.
    """
    deferred = {
        event_id: OutboxEntry({}, entry.outputs, entry.writer, entry.time)
        for event_id, entry in unfinished.items()
        if entry.outputs and entry.writer not in ("", reader) and _is_fresh(entry, now)
    }
    return deferred if len(msgspec.json.encode(deferred)) <= DEFERRED_BYTES_MAX else {}


def _is_fresh(entry: OutboxEntry, now: datetime) -> bool:
    """Clocks differ: what is said to come from the future is as young as it is old."""
    try:
        return abs(now - datetime.fromisoformat(entry.time)) < FRESH
    except (ValueError, TypeError):  # no time, or one without its zone: finished as any old one
        return False
