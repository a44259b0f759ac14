"""The record that the event processor stores under one key: the state and its outbox.

The outbox holds the unfinished work of events that were decided. Each outbox entry names its
writer.
"""

from __future__ import annotations

import msgspec

NOTHING = msgspec.Raw(b"null")


class OutboxEntry(msgspec.Struct):
    """The unfinished work of one event; the process `writer` saved it at `time` (RFC 3339, UTC).

    `erased` has the final forms of secondary records, which overwrite what is there.
    """

    secondaries: dict[str, msgspec.Raw]
    outputs: list[msgspec.Raw]
    writer: str = ""
    time: str = ""
    erased: dict[str, msgspec.Raw] | msgspec.UnsetType = msgspec.UNSET


class Record(msgspec.Struct):
    """The state and the outbox, saved together."""

    state: msgspec.Raw = NOTHING
    outbox: dict[str, OutboxEntry] = {}
