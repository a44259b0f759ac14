"""The audit trail: who replayed, discarded or erased what, when, and with which outcome.

The key `audit:<number>` (0, 1, ...) holds one entry, and the numbers have no gap. An entry is
inserted before its action begins, and gets its outcome once, at the end. No entry is ever removed.
An entry without an outcome says that its action began, and may have stopped anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.events import timestamp
from sidecart.chassis.store import ATTEMPTS_MAX, Store, update

ENTRIES_MAX = 1_048_576
"""Entries of a trail, of at most 2 KB each. A full trail refuses actions instead of losing one."""
PAGE_ENTRIES_MAX = 100
"""Entries in one answer: 200 KB at most."""
TEXT_CHARACTERS_MAX = 300
BEGUN = "begun"
"""The outcome of an action that has not reported its end."""


class TrailFull(Exception):
    """The trail has ENTRIES_MAX entries."""


class AuditEntry(msgspec.Struct, frozen=True):
    """One action of an operator. It holds ids and counts, and no content of an event."""

    number: int
    at: str
    """RFC 3339, UTC."""
    who: str
    via: str
    """The program that acted: cli, page or gateway."""
    action: str
    """replay, discard or erase."""
    target: str
    """A group, ids, or the filter that selected the dead letters; the id of an erased person."""
    count: int
    """How many dead letters were selected; 1 for an erasure."""
    outcome: str = BEGUN
    results: Mapping[str, int] = {}
    """How many dead letters had which outcome."""
    ended_at: str = ""


class AuditTrail:
    """Writes and reads the entries of one store; several processes may do so at the same time."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._known = 0
        """All numbers below have an entry."""

    async def begin(self, who: str, via: str, action: str, target: str, count: int) -> AuditEntry:
        """Append an entry, and return it.

        Raise TrailFull or TransientError; the caller must not act then.
        """
        number = await self._first_free()
        for _ in range(ATTEMPTS_MAX):
            if number >= ENTRIES_MAX:
                raise TrailFull(f"the audit trail already has {ENTRIES_MAX} entries")
            at, [who, target] = timestamp(self._now()), [each[:TEXT_CHARACTERS_MAX] for each in (who, target)]
            entry = AuditEntry(number, at, who, via, action, target, count)
            if await self._store.insert(_key(number), msgspec.json.encode(entry)):
                self._known = number + 1
                return entry
            number += 1  # another process was faster
        raise TransientError(f"the audit trail: lost {ATTEMPTS_MAX} races in a row")

    async def end(self, entry: AuditEntry, outcome: str, results: Mapping[str, int] | None = None) -> None:
        """Write the outcome of an action; the first one stays. Raise TransientError."""
        ended = msgspec.structs.replace(
            entry, outcome=outcome, results=dict(results or {}), ended_at=timestamp(self._now())
        )

        def complete(value: bytes | None) -> tuple[bytes | None, None]:
            is_open = value is not None and _entry(value).outcome == BEGUN
            return (msgspec.json.encode(ended) if is_open else None), None

        await update(self._store, _key(entry.number), complete)

    async def newest(self, before: int | None = None, count: int = PAGE_ENTRIES_MAX) -> list[AuditEntry]:
        """Return the entries with a number below `before`, newest first; None for the newest."""
        last = await self._first_free() if before is None else before
        numbers = range(last - 1, max(-1, last - 1 - min(count, PAGE_ENTRIES_MAX)), -1)
        values = await self._store.load_many([_key(number) for number in numbers])
        return [_entry(value) for value in values if value is not None]

    async def _first_free(self) -> int:
        """Return the first number without an entry: two reads, and one for each halving."""
        low = self._known
        steps = [low + (1 << each) - 1 for each in range(ENTRIES_MAX.bit_length())]
        found = await self._store.load_many([_key(number) for number in steps])
        taken = next((place for place, value in enumerate(found) if value is None), len(steps))
        if taken == 0:
            return low
        low, high = steps[taken - 1] + 1, steps[min(taken, len(steps) - 1)]
        while low < high:  # all below `low` are there, and `high` is free
            middle = (low + high) // 2
            is_free = (await self._store.load(_key(middle)))[0] is None
            low, high = (low, middle) if is_free else (middle + 1, high)
        self._known = low
        return low


def _key(number: int) -> str:
    return f"audit:{number}"


def _entry(value: bytes) -> AuditEntry:
    return msgspec.json.decode(value, type=AuditEntry)
