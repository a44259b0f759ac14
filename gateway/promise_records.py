"""What is written down before a 202 is given: `promise:<resource id>` holds the commands and how each of them ended.

Any replica reads and writes it. An outcome is written once, by ETag: `pending` never overwrites it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from chassis.deliver import ATTEMPTS_MAX
from chassis.errors import Conflict, WorldFault
from chassis.events import timestamp
from gateway.command import Command
from gateway.problems import Problem

KEPT_SECONDS = 7 * 24 * 3600
"""How long the store keeps a promise after its last change; one that has no outcome by then is given up."""

COMMANDS_MAX = 2
"""Commands of one Idempotency-Key with different bodies; one may have 464 KiB, a record stays below 1 MiB."""


class Store(Protocol):
    """What promises need of a sidecar; each call raises SidecarAway when it could not be made."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for those that are not there."""

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still holds, or with None if the key is free; raise Conflict for a lost race."""


class Refusal(msgspec.Struct, frozen=True):
    """A problem, as it is written down."""

    status: int
    kind: str
    detail: str

    def problem(self) -> Problem:
        """Return the problem that the held caller would have got."""
        return Problem(self.status, self.kind, self.detail)


class Promised(msgspec.Struct):
    """One command: carried until it has an outcome; then its event is not needed any more."""

    id: str
    topic: str
    event: msgspec.Raw
    outcome: Literal["pending", "kept", "refused"] = "pending"
    refusal: Refusal | None = None


class PromiseRecord(msgspec.Struct):
    """Everything promised about one resource."""

    location: str
    changed_at: datetime
    commands: list[Promised]

    @property
    def pending(self) -> list[Promised]:
        """The commands that have no outcome yet."""
        return [each for each in self.commands if each.outcome == "pending"]

    @property
    def is_kept(self) -> bool:
        """Whether the resource was made."""
        return any(each.outcome == "kept" for each in self.commands)

    @property
    def refusal(self) -> Refusal:
        """Why the first command was refused, if all of them were."""
        return next(each.refusal for each in self.commands if each.refusal is not None)


class TooManyCommands(Exception):
    """COMMANDS_MAX commands about this resource are written down already."""


class PromiseRecords:
    """Reads and writes promise records."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def load(self, resource: str) -> PromiseRecord | None:
        """Return what is promised about a resource, if anything."""
        return (await self._load(resource))[0]

    async def add(self, command: Command) -> Promised:
        """Write a command down, or find that it is; returns it with its outcome. Raise TooManyCommands, WorldFault."""
        record: PromiseRecord | None = None  # most are new, so the first attempt is an insert
        etag: str | None = None
        for _ in range(ATTEMPTS_MAX):
            known = record.commands if record is not None else []
            for each in known:
                if each.id == command.id:
                    return each
            if len(known) >= COMMANDS_MAX:
                raise TooManyCommands(command.resource)
            added = Promised(command.id, command.topic, msgspec.Raw(command.event))
            try:
                await self._save(command.resource, command.location, [*known, added], etag)
            except Conflict:
                record, etag = await self._load(command.resource)
            else:
                return added
        raise WorldFault(f"promise of {command.location}: not written after {ATTEMPTS_MAX} attempts")

    async def settle(self, resource: str, outcomes: Mapping[str, Refusal | None]) -> PromiseRecord | None:
        """Write how commands ended (None: as promised) and return the record; an outcome that is there stays."""
        for _ in range(ATTEMPTS_MAX):
            record, etag = await self._load(resource)
            if record is None:
                return None
            ended = [each for each in record.pending if each.id in outcomes]
            for each in ended:
                each.refusal = outcomes[each.id]
                each.outcome = "kept" if each.refusal is None else "refused"
                each.event = msgspec.Raw(b"null")
            if not ended:
                return record
            try:
                await self._save(resource, record.location, record.commands, etag)
            except Conflict:
                continue
            return record
        raise WorldFault(f"outcome of {resource}: lost {ATTEMPTS_MAX} races in a row")

    async def _load(self, resource: str) -> tuple[PromiseRecord | None, str | None]:
        value, etag = await self._store.load(_key(resource))
        return (None if value is None else msgspec.json.decode(value, type=PromiseRecord)), etag

    async def _save(self, resource: str, location: str, commands: list[Promised], etag: str | None) -> None:
        record = {"location": location, "changed_at": timestamp(self._now()), "commands": commands}
        await self._store.save(_key(resource), msgspec.json.encode(record), etag, ttl_seconds=KEPT_SECONDS)


def _key(resource: str) -> str:
    return f"promise:{resource}"
