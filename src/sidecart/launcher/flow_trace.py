"""The history of one id by the records of the services: times, published events, dead letters.

The project declares which records an id has (`[[records]]` of its live page description). Each time
in a record at which something happened is a moment, as are the events in its outbox. An outbox
keeps the events of the newest decisions only, so the moments of a flow that has moved on come from
its records' own times. An id of version 7 has the time at which it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from sidecart.chassis.events import timestamp
from sidecart.launcher.dead_letters import DeadLetter, Filter, State, find_dead_letters
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.record_keys import PLACE, RecordKey
from sidecart.launcher.topics import GATEWAY, service_ids

ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[\d.]*(?:Z|[+-]\d\d:\d\d)")
HAPPENED = re.compile(r"(?:\w+_)?(?:at|time)")
"""The fields with the time of an event. Others, such as `ends_before`, are limits."""
PENDING = "pending:{id}"
"""The gateway's record of an accepted command (src/sidecart/edge/pending_records.py)."""
OF_ID = "id"
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
    """id, outbox, record, pending or dead letter."""


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
    moments: list[Moment] = field(default_factory=list)
    records: list[FoundRecord] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Each app that could not be read, with the reason."""


def trace_flow(state: State, keys: Sequence[RecordKey], id_: str) -> FlowTrace:
    """Read the records of an id; raise LaunchError for a malformed one.

    An app whose state is unreachable is a problem of the answer: the others are still read.
    """
    if not ID.fullmatch(id_):
        raise LaunchError("an id is a UUID in lower case")
    trace = FlowTrace(id_, list(_made(id_)))
    for app, key in [*((each.app, each.key) for each in keys), (GATEWAY, PENDING)]:
        with _noting(trace):
            _add_record(state, trace, app, key)
    for service in service_ids():
        with _noting(trace):
            trace.moments.extend(map(_of_letter, _letters(state, service, id_)))
    if not trace.records and len(trace.moments) == 1 and trace.moments[0].source == OF_ID:
        trace.moments.clear()  # nothing is known about the id
    trace.moments.sort(key=lambda each: each.at)
    del trace.moments[MOMENTS_MAX:]
    return trace


@contextmanager
def _noting(trace: FlowTrace) -> Iterator[None]:
    try:
        yield
    except LaunchError as error:
        if str(error) not in trace.problems:
            trace.problems.append(str(error))


def _add_record(state: State, trace: FlowTrace, app: str, key: str) -> None:
    name = key.replace(PLACE, trace.id)
    value, _ = state.load(app, name)
    if not isinstance(value, dict):
        return
    inner = value.get("state") if "outbox" in value else value
    trace.records.append(FoundRecord(app, name, dict(_plain(inner))))
    source = "pending" if key == PENDING else "record"
    trace.moments.extend(Moment(at, app, f"{name}: {path}", source) for path, at in _times(inner))
    trace.moments.extend(_published(app, value, trace.id))


def _plain(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the plain fields; nested values and events may be large."""
    for name, content in value.items() if isinstance(value, dict) else ():
        if isinstance(content, str | int | float | bool):
            yield name, str(content)[:VALUE_CHARACTERS_MAX]
        elif name == "commands" and isinstance(content, list):
            yield name, ", ".join(f"{each.get('topic')} {each.get('outcome')}" for each in content)


def _times(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the times at which something happened; a planned one in the future has not."""
    for name, text in _plain(value):
        if HAPPENED.fullmatch(name) and TIME.fullmatch(text) and datetime.fromisoformat(text) <= datetime.now(UTC):
            yield name, text


def _made(id_: str) -> Iterator[Moment]:
    """Yield the moment at which the id was made, if the id has it (RFC 9562, version 7)."""
    number = UUID(id_)
    if number.version == 7:
        made = datetime.fromtimestamp((number.int >> 80) / 1_000, UTC)
        yield Moment(timestamp(made), GATEWAY, "made the id", OF_ID)


def _published(app: str, record: Mapping[str, Any], id_: str) -> Iterator[Moment]:
    """Yield the events about the id in an outbox; one record may serve several ids."""
    for entry in record.get("outbox", {}).values() if isinstance(record.get("outbox"), dict) else ():
        for event in entry.get("outputs", []):
            if id_ in (event.get("subject"), event.get("correlationid")) or id_ in map(str, event["data"].values()):
                yield Moment(entry.get("time") or event.get("time", ""), app, f"published {event['type']}", "outbox")


def _letters(state: State, service: str, id_: str) -> Iterator[DeadLetter]:
    """Yield the dead letters of a service whose events name the id, the oldest of them."""
    named = (each for each in find_dead_letters(state, Filter(service=service, settled=True)) if id_ in each.event)
    return islice(named, LETTERS_MAX)


def _of_letter(letter: DeadLetter) -> Moment:
    return Moment(
        letter.time, letter.service, f"could not process {letter.topic} ({letter.status}, {letter.id})", "dead letter"
    )
