"""The history of one id by the records of the services: times, published events, dead letters.

The project declares which records an id has (`[[records]]` of its live page description). Each time
in a record is a moment, as are the events in its outbox. An outbox keeps the events of the newest
decisions only, so the moments of a flow that has moved on come from its records' own times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sidecart.launcher.dead_letters import DeadLetter, Filter, State, find_dead_letters
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.record_keys import PLACE, RecordKey
from sidecart.launcher.topics import GATEWAY

ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]*(?:Z|[+-]\d\d:\d\d)")
PENDING = "pending:{id}"
"""The gateway's record of an accepted command (src/sidecart/edge/pending_records.py)."""
VALUE_CHARACTERS_MAX = 200
MOMENTS_MAX = 500
LETTERS_MAX = 50


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to the id."""

    at: str
    app: str
    what: str
    source: str
    """outbox, record, pending or dead letter."""


@dataclass(frozen=True, slots=True)
class FoundRecord:
    """The plain values of one record."""

    app: str
    key: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FlowTrace:
    """All that the stores know about an id, in the sequence of time."""

    id: str
    moments: list[Moment]
    records: list[FoundRecord]


def trace_flow(state: State, keys: Sequence[RecordKey], id_: str) -> FlowTrace:
    """Read the records of an id; raise LaunchError for a malformed id or an unreachable state."""
    if not ID.fullmatch(id_):
        raise LaunchError("an id is a UUID in lower case")
    records, moments = list[FoundRecord](), list[Moment]()
    for app, key in [*((each.app, each.key) for each in keys), (GATEWAY, PENDING)]:
        name = key.replace(PLACE, id_)
        value, _ = state.load(app, name)
        if not isinstance(value, dict):
            continue
        inner = value.get("state") if "outbox" in value else value
        records.append(FoundRecord(app, name, dict(_plain(inner))))
        source = "pending" if key == PENDING else "record"
        moments += [Moment(at, app, f"{name}: {path}", source) for path, at in _times(inner)]
        moments += _published(app, value, id_)
    moments += [_of_letter(each) for each in _letters(state, id_)]
    return FlowTrace(id_, sorted(moments, key=lambda each: each.at)[:MOMENTS_MAX], records)


def _plain(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the plain fields; nested values and events may be large."""
    for name, field in value.items() if isinstance(value, dict) else ():
        if isinstance(field, str | int | float | bool):
            yield name, str(field)[:VALUE_CHARACTERS_MAX]
        elif name == "commands" and isinstance(field, list):
            yield name, ", ".join(f"{each.get('topic')} {each.get('outcome')}" for each in field)


def _times(value: Any) -> Iterator[tuple[str, str]]:
    for name, text in _plain(value):
        if TIME.fullmatch(text):
            yield name, text


def _published(app: str, record: Mapping[str, Any], id_: str) -> Iterator[Moment]:
    """Yield the events about the id in an outbox; one record may serve several ids."""
    for entry in record.get("outbox", {}).values() if isinstance(record.get("outbox"), dict) else ():
        for event in entry.get("outputs", []):
            if id_ in (event.get("subject"), event.get("correlationid")) or id_ in map(str, event["data"].values()):
                yield Moment(entry.get("time") or event.get("time", ""), app, f"published {event['type']}", "outbox")


def _letters(state: State, id_: str) -> Iterator[DeadLetter]:
    """Yield the dead letters whose events name the id."""
    count = 0
    for letter in find_dead_letters(state, Filter(settled=True)):
        if id_ in letter.event and count < LETTERS_MAX:
            count += 1
            yield letter


def _of_letter(letter: DeadLetter) -> Moment:
    return Moment(
        letter.time, letter.service, f"could not process {letter.topic} ({letter.status}, {letter.id})", "dead letter"
    )
