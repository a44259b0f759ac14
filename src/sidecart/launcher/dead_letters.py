"""Read the dead letters of all services.

`State` abstracts the access to the services' state. A dead letter has a status; replays.py says
which ones a replay sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sidecart.launcher.causes import Cause, cause_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import service_ids

OPEN = ("open", "replaying")
ERASED = "erased"
"""The final status after an erasure: the event is gone (src/sidecart/chassis/dead_letters.py)."""
LOADED_MAX = 20
"""Dead letters in one read: each may have 1 MiB."""

Outcome = Literal["published", "replayed", "failed again", "discarded", "another run", "conflict"]


class State(Protocol):
    """Access to the state of all apps.

    Each call raises LaunchError if the app's state is unreachable.
    """

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """Return the decoded value of an app's key and its ETag, or None and None."""

    def load_many(self, service: str, keys: Sequence[str]) -> list[Any]:
        """Return the decoded value of each key, None for an absent one."""

    def save(self, service: str, key: str, value: Any, etag: str | None) -> bool:
        """Write a value if the ETag is current, or, with None, if the key is free.

        Return whether it was.
        """

    def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
        """Publish a complete CloudEvent through the sidecar of an app."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that a service could not process, as recorded (contracts/WIRE.md, section 9)."""

    id: str
    service: str
    topic: str
    reason: str
    time: str
    traceparent: str
    event: str
    status: str = "open"
    event_base64: str = ""
    """The event's bytes instead of `event`, if they are not UTF-8."""
    first_time: str = ""
    """The time of its first failure, if it was opened again since."""

    @property
    def text(self) -> str:
        """The event in readable form."""
        return f"base64: {self.event_base64}" if self.event_base64 else self.event

    @property
    def first(self) -> str:
        """The time of the first failure."""
        return self.first_time or self.time

    @property
    def key(self) -> str:
        """The state key of this dead letter."""
        return f"dead:{self.id}"

    @property
    def cause(self) -> Cause:
        """The cause, which other dead letters share."""
        return cause_of(self.service, self.topic, self.reason)

    @property
    def is_open(self) -> bool:
        """Whether it still needs a replay or a discard."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Filter:
    """Selects dead letters. A field that is None or empty selects all."""

    ids: tuple[str, ...] = ()
    """Prefixes of ids."""
    service: str | None = None
    topic: str | None = None
    reason: str | None = None
    """A part of the reason, in any case."""
    since: str | None = None
    """The earliest time, or a prefix of one: 2026-01-15 or 2026-01-15T09:30."""
    settled: bool = False
    """Whether to include replayed, discarded and erased dead letters."""
    group: str | None = None
    """The id of a group (src/sidecart/launcher/causes.py)."""

    def may_be(self, letter_id: str) -> bool:
        """Whether this filter selects dead letters with this id."""
        return not self.ids or letter_id.startswith(self.ids)

    def matches(self, letter: DeadLetter) -> bool:
        """Whether this filter selects a dead letter."""
        return (
            (self.settled or letter.is_open)
            and self.topic in (None, letter.topic)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since is None or letter.time >= self.since)
            and self.may_be(letter.id)
            and (self.group is None or self.group == letter.cause.id)
        )


def find_dead_letters(state: State, selection: Filter = Filter()) -> Iterator[DeadLetter]:
    """Yield the selected dead letters by service, oldest first, LOADED_MAX in one read."""
    for service in (selection.service,) if selection.service else service_ids():
        ids = [each for each in _ids(state, service) if selection.may_be(each)]
        yield from load_dead_letters(state, service, ids, selection)


def load_dead_letters(state: State, service: str, ids: Sequence[str], selection: Filter) -> Iterator[DeadLetter]:
    """Yield the dead letters of a service with these ids that a filter selects."""
    for start in range(0, len(ids), LOADED_MAX):
        some = ids[start : start + LOADED_MAX]
        for letter_id, record in zip(some, state.load_many(service, [f"dead:{each}" for each in some]), strict=True):
            if record is not None and selection.matches(letter := _letter(letter_id, service, record)):
                yield letter


def _ids(state: State, service: str) -> Iterator[str]:
    number = 0
    while (page := state.load(service, f"dead-index:{number}")[0]) is not None:
        yield from page["ids"]
        number += 1


def _letter(letter_id: str, service: str, record: Mapping[str, str]) -> DeadLetter:
    names = ("topic", "reason", "time", "traceparent", "event", "event_base64", "first_time")
    return DeadLetter(
        letter_id, service, **{name: record.get(name, "") for name in names}, status=record.get("status", "open")
    )


def only(found: Sequence[DeadLetter], selection: str) -> Sequence[DeadLetter]:
    """Return the dead letters of the one id with this prefix.

    Several services may share an id. Raise LaunchError for no match or several ids.
    """
    if not found:
        raise LaunchError(f"there is no dead letter {selection}: ./sidecart dead-letters list shows all")
    if len({each.id for each in found}) > 1:
        raise LaunchError(f"{len(found)} dead letters begin with {selection}: give more characters of the id")
    return found
