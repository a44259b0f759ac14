"""The dead letters of all services: read them, replay them, discard them, by whatever reaches the services' state.

A letter is open, or somebody deals with it: `replaying` is written before its event is published again and `replayed`
after, so that a replay that was broken off is seen and can be done once more. A service whose event fails again makes
its letter open again (chassis/dead_letters.py).
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

from chassis.request_context import version_00
from cli.errors import LaunchError
from cli.topics import SERVICES

SECONDS_MAX = 10.0
OPEN = ("open", "replaying")
REPLACED = "\ufffd"
"""What stands for bytes that were no UTF-8 in a letter that an earlier version wrote."""
ADDED = ("topic", "pubsubname", "traceid", "traceparent", "tracestate", "expiration")
"""What a sidecar adds to each event that it delivers; it adds them anew."""


Outcome = Literal["replayed", "failed again", "discarded", "changed meanwhile"]


class State(Protocol):
    """How letters are reached; each call raises LaunchError when it could not be made."""

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """What a service keeps under a key, decoded, with its ETag; or None twice."""

    def save(self, service: str, key: str, value: Any, etag: str) -> bool:
        """Write if the ETag still holds; say whether it did."""

    def publish(self, service: str, topic: str, event: bytes, traceparent: str) -> None:
        """Publish a whole CloudEvent."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that a service could not use, as the service wrote it down (contracts/WIRE.md, section 9)."""

    id: str
    service: str
    topic: str
    reason: str
    time: str
    traceparent: str
    event: str
    status: str = "open"
    event_base64: str = ""
    """The event's bytes, instead of `event`, if they are not UTF-8."""

    @property
    def text(self) -> str:
        """The event as a person reads it."""
        return f"base64: {self.event_base64}" if self.event_base64 else self.event

    @property
    def key(self) -> str:
        """Where it is kept."""
        return f"dead:{self.id}"

    @property
    def is_open(self) -> bool:
        """Whether there is anything to do about it."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters are meant; what is None or empty does not matter."""

    ids: tuple[str, ...] = ()
    """Beginnings of ids."""
    service: str | None = None
    topic: str | None = None
    reason: str | None = None
    """A part of the reason, in any case."""
    since: str | None = None
    """The beginning of a time, as it is written: 2026-01-15 or 2026-01-15T09:30."""
    settled: bool = False
    """Those too that were replayed or discarded."""

    def matches(self, letter: DeadLetter) -> bool:
        """Whether this letter is meant."""
        return (
            (self.settled or letter.is_open)
            and self.topic in (None, letter.topic)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.since is None or letter.time >= self.since)
            and (not self.ids or letter.id.startswith(self.ids))
        )


def find_dead_letters(state: State, selection: Filter = Filter()) -> Iterator[DeadLetter]:
    """The letters that are meant, service by service, oldest first."""
    for service in (selection.service,) if selection.service else SERVICES:
        for letter_id in _ids(state, service):
            record, _ = state.load(service, f"dead:{letter_id}")
            if record is not None and selection.matches(letter := _letter(letter_id, service, record)):
                yield letter


def _ids(state: State, service: str) -> Iterator[str]:
    number = 0
    while (page := state.load(service, f"dead-index:{number}")[0]) is not None:
        yield from page["ids"]
        number += 1


def _letter(letter_id: str, service: str, record: Mapping[str, str]) -> DeadLetter:
    names = ("topic", "reason", "time", "traceparent", "event", "event_base64")
    return DeadLetter(
        letter_id, service, **{name: record.get(name, "") for name in names}, status=record.get("status", "open")
    )


def replayable(letter: DeadLetter) -> dict[str, Any]:
    """The event as it was before a sidecar brought it; raise LaunchError for one that cannot be published."""
    if letter.event_base64:
        raise LaunchError(f"{letter.id} of {letter.service} is not UTF-8, so it is no event: it can only be discarded")
    try:
        event = json.loads(letter.event)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not isinstance(event.get("type"), str):
        raise LaunchError(f"{letter.id} of {letter.service} holds no whole event: it can only be discarded")
    if REPLACED in letter.event:
        raise LaunchError(f"{letter.id} of {letter.service} was not UTF-8 and is not whole: it can only be discarded")
    return {name: value for name, value in event.items() if name not in ADDED} | _trace_of(event, letter)


def _trace_of(event: Mapping[str, Any], letter: DeadLetter) -> dict[str, str]:
    """The attributes by which the event goes on with the trace it was in: those of whoever published it first.

    Only well-formed ones: anything else in them ends the sidecar of whoever reads the event.
    """
    for candidate in (event.get("traceparent"), letter.traceparent):
        traceparent = version_00(candidate) if isinstance(candidate, str) else ""
        if traceparent:
            return {"traceid": traceparent.split("-")[1], "traceparent": traceparent}
    return {}


def replay(state: State, letter: DeadLetter) -> Outcome:
    """Publish its event again, on its own topic; who has it already answers as to any repetition."""
    event = json.dumps(replayable(letter)).encode()
    etag = _mark(state, letter, "replaying", None)
    if etag is None:
        return "changed meanwhile"
    state.publish(letter.service, letter.topic, event, letter.traceparent)
    # If it has failed already, the service wrote the letter anew and this mark finds another ETag.
    return "replayed" if _mark(state, letter, "replayed", etag) is not None else "failed again"


def discard(state: State, letter: DeadLetter) -> Outcome:
    """Say that nothing is to be done about it."""
    return "discarded" if _mark(state, letter, "discarded", None) is not None else "changed meanwhile"


def _mark(state: State, letter: DeadLetter, status: str, etag: str | None) -> str | None:
    """Write the letter's new status; returns the ETag after it, or None if it is not what it was."""
    record, now = state.load(letter.service, letter.key)
    if record is None or now is None or (etag is not None and now != etag):
        return None
    if etag is None and (record.get("status", "open"), record.get("time", "")) != (letter.status, letter.time):
        return None
    marked = {**record, "status": status, "status_time": datetime.now(UTC).isoformat(timespec="seconds")}
    # Without a time to live: a store may keep that of a letter which is opened again, and then forget an open letter.
    if not state.save(letter.service, letter.key, marked, now):
        return None
    after, etag_after = state.load(letter.service, letter.key)
    return etag_after if after == marked else None


class RunningState:
    """The state of a running shop's services, each reached through its sidecar (port `<app-id>-sidecar`)."""

    def __init__(self, ports: Mapping[str, int], dapr_api_token: str) -> None:
        self._ports = ports
        self._token = dapr_api_token
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """Read one key."""
        status, body, etag = self._call(service, f"/v1.0/state/statestore/{quote(key, safe='')}")
        if status not in (200, 204):
            raise self._unreadable(service, f"{status} {body.decode(errors='replace')[:200]}")
        return (json.loads(body), etag) if body else (None, None)

    def save(self, service: str, key: str, value: Any, etag: str) -> bool:
        """Write one key; say whether it was what it was. A conflict and a refusal come in the same forms (ADR 37)."""
        write = {"key": key, "value": value, "etag": etag, "options": {"concurrency": "first-write"}}
        status, body, _ = self._call(service, "/v1.0/state/statestore", json.dumps([write]).encode())
        if status in (200, 201, 204):
            return True
        if self.load(service, key)[1] == etag:
            problem = f"{status} {body.decode(errors='replace')[:200]}"
            raise LaunchError(f"the store of {service} refuses writes ({problem}): see ./sidecart status")
        return False

    def publish(self, service: str, topic: str, event: bytes, traceparent: str) -> None:
        """Publish as the service itself does."""
        headers = {"content-type": "application/cloudevents+json"}
        if traceparent:
            headers["traceparent"] = traceparent
        status, body, _ = self._call(service, f"/v1.0/publish/pubsub/{topic}", event, headers)
        if status not in (200, 204):
            raise LaunchError(f"the event was not published: {status} {body.decode(errors='replace')[:200]}")

    def _call(
        self, service: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, str | None]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._ports[f'{service}-sidecar']}{path}",
            body,
            {"content-type": "application/json", "dapr-api-token": self._token, **(headers or {})},
        )
        try:
            with self._opener.open(request, timeout=SECONDS_MAX) as answer:
                return answer.status, answer.read(), answer.headers.get("ETag")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), None
        except OSError as error:
            raise self._unreadable(service, str(error)) from error

    def _unreadable(self, service: str, why: str) -> LaunchError:
        return LaunchError(f"the dead letters of {service} cannot be reached ({why}): see ./sidecart status")


def only(found: Sequence[DeadLetter], selection: str) -> Sequence[DeadLetter]:
    """The letters of the one id that begins so: several services may have it. Raise LaunchError for none or more."""
    if not found:
        raise LaunchError(f"there is no dead letter {selection}: ./sidecart dead-letters list shows all")
    if len({each.id for each in found}) > 1:
        raise LaunchError(f"{len(found)} dead letters begin with {selection}: give more of the id")
    return found
