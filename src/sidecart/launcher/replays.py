"""The replay of a dead letter, and how it ends.

A replay sets the status `replaying`, then publishes the event again, with the attribute `replay`.
The service that wrote the dead letter tells the outcome: it sets `replayed`, or opens the dead
letter again (src/sidecart/chassis/dead_letters.py). Until then the dead letter counts as open, so
an interrupted replay is visible and can be repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sidecart.chassis.dead_letters import REPLAYED, REPLAYING
from sidecart.chassis.events import REPLAY
from sidecart.chassis.telemetry.traceparent import version_00
from sidecart.launcher.claims import RUN, Run
from sidecart.launcher.dead_letters import DeadLetter, Outcome, State
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topic_scopes import publisher_of
from sidecart.launcher.topics import TOPIC_LIST

REPLACED = "\ufffd"
"""An earlier version wrote this character in place of invalid UTF-8."""
ADDED = ("topic", "pubsubname", "traceid", "traceparent", "tracestate", "expiration", REPLAY)
"""The attributes that a sidecar adds to each delivered event, or a replay to its event."""
PUBLISHED: Outcome = "published"
FAILED_AGAIN: Outcome = "failed again"

WAIT_SECONDS = 15.0
"""The wait for the next outcome: a service with a slow dependency takes some seconds an event."""
SILENT_WAIT_SECONDS = 1.0
"""The wait for a service that has told no outcome in the last WAIT_SECONDS: it may be stopped."""
POLL_SECONDS_MIN, POLL_SECONDS_MAX = 0.02, 0.5


def replayable(letter: DeadLetter) -> dict[str, Any]:
    """Return the event with the attribute `replay`, and without the sidecar's.

    Raises LaunchError if the event cannot be published.
    """
    if letter.event_base64:
        raise LaunchError(
            f"{letter.id} of {letter.service} is not UTF-8, so it is not an event: you can only discard it"
        )
    try:
        event = json.loads(letter.event)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not isinstance(event.get("type"), str):
        raise LaunchError(f"{letter.id} of {letter.service} holds no complete event: you can only discard it")
    _publisher_of(letter)
    if REPLACED in letter.event:
        raise LaunchError(f"{letter.id} of {letter.service} was not UTF-8 and is incomplete: you can only discard it")
    return (
        {name: value for name, value in event.items() if name not in ADDED}
        | _trace_of(event, letter)
        | {REPLAY: "true"}
    )


def _trace_of(event: Mapping[str, Any], letter: DeadLetter) -> dict[str, str]:
    """Return the attributes that continue the event's trace, preferably its first publisher's.

    Only well-formed values: any other value ends the sidecar of each consumer.
    """
    for candidate in (event.get("traceparent"), letter.traceparent):
        traceparent = version_00(candidate) if isinstance(candidate, str) else ""
        if traceparent:
            return {"traceid": traceparent.split("-")[1], "traceparent": traceparent}
    return {}


def publish_again(state: State, run: Run, letter: DeadLetter) -> Outcome:
    """Publish the event again on its own topic.

    A consumer that has processed the event handles it as any repetition. Return `published`, or
    why the run may not act; raise LaunchError if the event cannot be published.
    """
    event, publisher = json.dumps(replayable(letter)).encode(), _publisher_of(letter)
    if lost := run.mark(letter, REPLAYING):
        return lost
    state.publish(publisher, letter.topic, event, letter.traceparent)
    return PUBLISHED


class Outcomes:
    """Waits for the outcomes of published events, and for less time while a service is silent."""

    def __init__(self, state: State, run: Run, is_stopped: Callable[[], bool]) -> None:
        self._state = state
        self._run = run
        self._is_stopped = is_stopped
        self._silent: set[str] = set()

    def wait(self, service: str, letters: Sequence[DeadLetter]) -> Iterator[tuple[DeadLetter, Outcome]]:
        """Yield each dead letter of one service with its outcome; none for an unknown outcome.

        Raise LaunchError if the state is unreachable.
        """
        pending, told = {each.key: each for each in letters}, time.monotonic()
        pause = POLL_SECONDS_MIN
        while pending:
            ended = self.now(service, list(pending.values()))
            for letter, outcome in ended:
                del pending[letter.key]
                yield letter, outcome
            if ended:
                self._silent.discard(service)
                told, pause = time.monotonic(), POLL_SECONDS_MIN
                continue
            if self._is_stopped():
                return
            if time.monotonic() - told > (SILENT_WAIT_SECONDS if service in self._silent else WAIT_SECONDS):
                self._silent.add(service)
                return
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS_MAX)

    def now(self, service: str, letters: Sequence[DeadLetter]) -> list[tuple[DeadLetter, Outcome]]:
        """Return the dead letters whose outcome is known now."""
        records = self._state.load_many(service, [each.key for each in letters])
        found = [(letter, self._outcome(record)) for letter, record in zip(letters, records, strict=True)]
        return [(letter, outcome) for letter, outcome in found if outcome != PUBLISHED]

    def _outcome(self, record: Mapping[str, str] | None) -> Outcome:
        """Return the outcome; it is another run's if that one has taken the dead letter since."""
        status = None if record is None else record.get("status", "open")
        is_own = record is not None and (status == "open" or record.get(RUN, self._run.name) == self._run.name)
        return OUTCOMES.get(status, self._run.lost(record)) if is_own else self._run.lost(record)


OUTCOMES: dict[str | None, Outcome] = {REPLAYING: PUBLISHED, REPLAYED: "replayed", "open": FAILED_AGAIN}
"""By status; with any other, another operator or an erasure has settled the dead letter."""


def _publisher_of(letter: DeadLetter) -> str:
    """Return the only app whose sidecar may publish the topic (topic_scopes.py)."""
    publisher = publisher_of(letter.topic)
    if publisher is None:
        raise LaunchError(f"{TOPIC_LIST} lacks the topic {letter.topic} of {letter.id}: you can only discard it")
    return publisher
