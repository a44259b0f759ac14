"""Pending records: `pending:<resource id>` holds the commands of a resource and their outcomes.

The gateway writes a record before it answers 202. Any replica reads and writes it. An outcome is
written once, by ETag; `pending` never overwrites it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from sidecart.chassis.events import timestamp
from sidecart.chassis.store import ABSENT, Store, update
from sidecart.edge.command import Command
from sidecart.edge.problems import Problem

RETENTION_SECONDS = 7 * 24 * 3600
"""The store keeps a record for this long after its last change; then a command without an outcome
is abandoned.
"""

COMMANDS_MAX = 2
"""Commands with one Idempotency-Key and different bodies. A command may have 464 KiB, so a record
stays below 1 MiB.
"""


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
    owner: str = ""
    """See `Command.owner`; empty in a record of an earlier version."""

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
        value, _ = await self._store.load(_key(resource))
        return None if value is None else msgspec.json.decode(value, type=PendingRecord)

    async def add(self, command: Command) -> PendingCommand:
        """Add a command to its record, or find it there, and return it with its outcome.

        Raise TooManyCommands or TransientError.
        """

        def add(value: bytes | None) -> tuple[bytes | None, PendingCommand]:
            known = [] if value is None else msgspec.json.decode(value, type=PendingRecord).commands
            for each in known:
                if each.id == command.id:
                    return None, each
            if len(known) >= COMMANDS_MAX:
                raise TooManyCommands(command.resource)
            added = PendingCommand(command.id, command.topic, msgspec.Raw(command.event))
            return self._encoded(command.location, command.owner, [*known, added]), added

        key = _key(command.resource)
        return await update(self._store, key, add, loaded=ABSENT, ttl_seconds=RETENTION_SECONDS)  # most are new

    async def settle(self, resource: str, outcomes: Mapping[str, Rejection | None]) -> PendingRecord | None:
        """Write the outcomes of commands (None: confirmed), and return the record.

        An existing outcome stays. Return None if the store has no record.
        """

        def settle(value: bytes | None) -> tuple[bytes | None, PendingRecord | None]:
            if value is None:
                return None, None
            record = msgspec.json.decode(value, type=PendingRecord)
            ended = [each for each in record.pending if each.id in outcomes]
            for each in ended:
                each.rejection = outcomes[each.id]
                each.outcome = "confirmed" if each.rejection is None else "rejected"
                each.event = msgspec.Raw(b"null")
            return self._encoded(record.location, record.owner, record.commands) if ended else None, record

        return await update(self._store, _key(resource), settle, ttl_seconds=RETENTION_SECONDS)

    async def erase(self, resource: str) -> None:
        """Remove the commands and the owner from a record; raise TransientError."""

        def erase(value: bytes | None) -> tuple[bytes | None, None]:
            if value is None or not msgspec.json.decode(value, type=PendingRecord).commands:
                return None, None
            return self._encoded("", "", []), None

        await update(self._store, _key(resource), erase, ttl_seconds=RETENTION_SECONDS)

    def _encoded(self, location: str, owner: str, commands: list[PendingCommand]) -> bytes:
        changed_at = timestamp(self._now())
        record = {"location": location, "changed_at": changed_at, "commands": commands, "owner": owner}
        return msgspec.json.encode(record)


def _key(resource: str) -> str:
    return f"pending:{resource}"
