"""The audit trail (src/sidecart/chassis/audit_trail.py) in the gateway's store of a running system.

Every action on dead letters begins with `audited`: without its entry, it does not happen.
"""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from sidecart.chassis.audit_trail import PAGE_ENTRIES_MAX, AuditEntry, AuditTrail, TrailFull
from sidecart.chassis.errors import Conflict, TransientError
from sidecart.chassis.telemetry.logs import ADDRESS, MASKED
from sidecart.launcher.dead_letters import State
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY

T = TypeVar("T")

COMPLETED, INTERRUPTED, FAILED = "completed", "interrupted", "failed"
NOT_REACHED = "not reached"
"""The count of what an interrupted action has left."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and through which program."""

    who: str
    via: str


def of_command_line() -> Operator:
    """Return the login at this machine; the command line knows no other identity.

    The id of the process decides, not a variable such as LOGNAME.
    """
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # an id without a name, as in some containers
        name = f"uid {os.getuid()}"
    return Operator(f"{name}@{socket.gethostname()}", "cli")


@contextmanager
def audited(
    state: State, operator: Operator, action: str, target: str, count: int
) -> Iterator[tuple[int, Counter[str]]]:
    """Append an entry before the block, and its outcome after it.

    Yield the number of the entry, and the counts of the outcomes, which the block fills.

    Raise LaunchError without entering the block if the entry cannot be written. The target holds
    no text of an operator, because the trail outlives an erasure; an address in it is masked.
    """
    trail, results = _trail(state), Counter[str]()
    masked = ADDRESS.sub(MASKED, target)
    entry = _written(trail.begin(operator.who, operator.via, action, masked, count), "nothing was done")
    outcome = INTERRUPTED
    try:
        yield entry.number, results
        outcome = INTERRUPTED if results[NOT_REACHED] else COMPLETED
    except LaunchError:
        outcome = FAILED
        raise
    finally:
        _written(trail.end(entry, outcome, +results), f"its entry {entry.number} lacks the outcome {outcome}")


def newest_entries(state: State, before: int | None = None, count: int = PAGE_ENTRIES_MAX) -> list[AuditEntry]:
    """Return the entries with a number below `before`, newest first; raise LaunchError."""
    return _done(_trail(state).newest(before, count))


def _written(work: Coroutine[Any, Any, T], consequence: str) -> T:
    try:
        return _done(work)
    except (TrailFull, TransientError, LaunchError) as error:
        raise LaunchError(f"the audit trail cannot be written, so {consequence}: {error}") from error


def _done(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, because each call of its store blocks."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("a call of the store has waited")


def _trail(state: State) -> AuditTrail:
    return AuditTrail(_GatewayStore(state), lambda: datetime.now(UTC))


class _GatewayStore:
    """The store of the gateway for the trail; each call blocks, and may raise LaunchError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        value, etag = self._state.load(GATEWAY, key)
        return (None, None) if value is None else (_encoded(value), etag)

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value for each key, None for an absent one."""
        return [None if value is None else _encoded(value) for value in self._state.load_many(GATEWAY, keys)]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag matches, or, with None, if the key is free; else raise Conflict."""
        assert ttl_seconds is None, "no entry expires"
        if not self._state.save(GATEWAY, key, json.loads(value), etag):
            raise Conflict(key)

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free, and return whether it was."""
        return self._state.save(GATEWAY, key, json.loads(value), None)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()
