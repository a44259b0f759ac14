"""Pending records: `pending:<resource id>` holds the commands of a resource and their outcomes.

The gateway writes a record before it answers 202. Any replica reads and writes it. An outcome is
written once, by ETag; `pending` never overwrites it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from chassis.errors import Conflict, TransientError
from chassis.events import timestamp
from chassis.processor import ATTEMPTS_MAX
from gateway.command import Command
from gateway.problems import Problem

RETENTION_SECONDS = 7 * 24 * 3600
"""The store keeps a record for this long after its last change; then a command without an outcome
is abandoned.
"""

COMMANDS_MAX = 2
"""Commands with one Idempotency-Key and different bodies. A command may have 464 KiB, so a record
stays below 1 MiB.
"""


class Store(Protocol):
    """The calls to the store that records need; each raises SidecarUnavailable if it fails."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for a missing key."""

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag matches or, with None, if the key is free; else raise Conflict."""


class Rejection(msgspec.Struct, frozen=True):
    """A problem response, in the form that a record stores."""

    status: int
    kind: str
    detail: str

    def problem(self) -> Problem:
        """Return the problem for the HTTP response."""
        return Problem(self.status, self.kind, self.detail)


class PendingCommand(msgspec.Struct):
    """One accepted command; its event is dropped once it has an outcome."""

    id: str
    topic: str
    event: msgspec.Raw
    outcome: Literal["pending", "confirmed", "rejected"] = "pending"
    rejection: Rejection | None = None


class PendingRecord(msgspec.Struct):
    """All accepted commands of one resource."""

    location: str
    changed_at: datetime
    commands: list[PendingCommand]

    @property
    def pending(self) -> list[PendingCommand]:
        """The commands without an outcome."""
        return [each for each in self.commands if each.outcome == "pending"]

    @property
    def is_confirmed(self) -> bool:
        """True if one of the commands created the resource."""
        return any(each.outcome == "confirmed" for each in self.commands)

    @property
    def rejection(self) -> Rejection:
        """The first rejection; at least one command must be rejected."""
        return next(each.rejection for each in self.commands if each.rejection is not None)


class TooManyCommands(Exception):
    """The record already has COMMANDS_MAX commands."""


class PendingRecords:
    """Reads and writes pending records."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def load(self, resource: str) -> PendingRecord | None:
        """Return the record of a resource, or None."""
        return (await self._load(resource))[0]

    async def add(self, command: Command) -> PendingCommand:
        """Add a command to its record, or find it there, and return it with its outcome.

        Raise TooManyCommands or TransientError.
        """
        record: PendingRecord | None = None  # most are new: try an insert first
        etag: str | None = None
        for _ in range(ATTEMPTS_MAX):
            known = record.commands if record is not None else []
            for each in known:
                if each.id == command.id:
                    return each
            if len(known) >= COMMANDS_MAX:
                raise TooManyCommands(command.resource)
            added = PendingCommand(command.id, command.topic, msgspec.Raw(command.event))
            try:
                await self._save(command.resource, command.location, [*known, added], etag)
            except Conflict:
                record, etag = await self._load(command.resource)
            else:
                return added
        raise TransientError(f"pending command of {command.location}: not written after {ATTEMPTS_MAX} attempts")

    async def settle(self, resource: str, outcomes: Mapping[str, Rejection | None]) -> PendingRecord | None:
        """Write the outcomes of commands (None: confirmed), and return the record.

        An existing outcome stays. Return None if the store has no record.
        """
        for _ in range(ATTEMPTS_MAX):
            record, etag = await self._load(resource)
            if record is None:
                return None
            ended = [each for each in record.pending if each.id in outcomes]
            for each in ended:
                each.rejection = outcomes[each.id]
                each.outcome = "confirmed" if each.rejection is None else "rejected"
                each.event = msgspec.Raw(b"null")
            if not ended:
                return record
            try:
                await self._save(resource, record.location, record.commands, etag)
            except Conflict:
                continue
            return record
        raise TransientError(f"outcome of {resource}: lost {ATTEMPTS_MAX} races in a row")

    async def _load(self, resource: str) -> tuple[PendingRecord | None, str | None]:
        value, etag = await self._store.load(_key(resource))
        return (None if value is None else msgspec.json.decode(value, type=PendingRecord)), etag

    async def _save(self, resource: str, location: str, commands: list[PendingCommand], etag: str | None) -> None:
        record = {"location": location, "changed_at": timestamp(self._now()), "commands": commands}
        await self._store.save(_key(resource), msgspec.json.encode(record), etag, ttl_seconds=RETENTION_SECONDS)


def _key(resource: str) -> str:
    return f"pending:{resource}"
