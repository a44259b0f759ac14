"""Deferral: leave a fresh outbox entry of another process to that process, which publishes it now.

With several replicas, every second event finds an entry that its writer is publishing. A second
publish would double the traffic. The next save keeps a deferred entry in the outbox, so that a
writer that crashed loses nothing. The writer itself drops the entry: it knows that the entry is
finished. The event processor works without deferral, and then publishes such entries twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from sidecart.chassis.record import OutboxEntry

FRESH = timedelta(seconds=10)  # by then a live writer has published, or its event is redelivered
DEFERRED_BYTES_MAX = 8 * 2**10  # of all deferred entries of a record, as JSON: bounds its growth


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
