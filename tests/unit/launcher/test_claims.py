"""Two runs never act on one dead letter at the same time; a killed run holds it for a while."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from sidecart.launcher.audit import Operator, newest_entries
from sidecart.launcher.claims import HELD_SECONDS_MAX, RUN
from sidecart.launcher.dead_letter_runs import perform, select
from sidecart.launcher.dead_letters import LOADED_MAX, DeadLetter, Filter, find_dead_letters
from tests.unit.launcher.test_dead_letters import FakeState

ANN, BOB = Operator("ann@example.com", "cli"), Operator("bob@example.com", "cli")
COUNT = 2 * LOADED_MAX


class OneByOne(FakeState):
    """State whose services process the events that were published, and no others."""

    def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
        """Record the event, and process it."""
        made = json.loads(event)
        self.published.append((app_id, topic, made, traceparent))
        self.on_publish()
        letter, _ = self.load("order", f"dead:{made['id']}")
        if letter["status"] == "replaying":
            self.put("order", f"dead:{made['id']}", {**letter, "status": "replayed"})


@pytest.fixture
def state() -> FakeState:
    """Dead letters of one cause."""
    fake = OneByOne()
    ids = [f"a{number:02}" for number in range(COUNT)]
    fake.put("order", "dead-index:0", {"ids": ids})
    for each in ids:
        event = json.dumps({"id": each, "type": "OrderPaid"})
        fake.put("order", f"dead:{each}", {"topic": "OrderPaid", "reason": "why", "event": event})
    return fake


def act(state: FakeState, operator: Operator, action: str = "replay") -> Counter[str]:
    """Let an operator act on all open dead letters."""
    return perform(state, action, select(state, Filter()), operator, ignore)


def ignore(_letter: DeadLetter, _outcome: str, _why: str) -> None:
    """Report nothing."""


def during(state: FakeState, number: int, then: Callable[[], object]) -> None:
    """Call `then` once: after a publish, before its service has processed the event."""

    def publish() -> None:
        if len(state.published) == number:
            then()

    state.on_publish = publish


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_a_letter_in_mid_replay_is_left_to_its_run(state: FakeState, action: str) -> None:
    """The second run begins in the middle of the first one: each event is published once, and the
    trail has each outcome once.
    """
    second = Counter[str]()
    during(state, 5, lambda: second.update(act(state, BOB, action)))

    first = act(state, ANN)

    done = "replayed" if action == "replay" else "discarded"
    assert {"another run": 1, done: COUNT - 5} == dict(second)
    assert {"replayed": 5, "another run": COUNT - 5} == dict(first)
    published = Counter(event["id"] for _, _, event, _ in state.published)
    assert {1} == set(published.values())
    assert [("bob@example.com", dict(second)), ("ann@example.com", dict(first))] == [
        (each.who, dict(each.results)) for each in newest_entries(state)
    ]


def test_a_run_that_was_killed_holds_a_letter_for_some_minutes(state: FakeState) -> None:
    """Its entry is without an outcome; afterwards, its dead letter is replayed again."""
    state.put("gateway", "audit:0", entry("begun"))
    held(state, "a07", seconds=HELD_SECONDS_MAX - 60)
    held(state, "a08", seconds=HELD_SECONDS_MAX + 1)

    assert {"another run": 1, "replayed": COUNT - 1} == dict(act(state, BOB))
    assert ["a07"] == [each.id for each in find_dead_letters(state)]


@pytest.mark.parametrize("outcome", ["completed", "interrupted", "failed"])
def test_a_run_that_has_ended_holds_no_letter(state: FakeState, outcome: str) -> None:
    """An event whose outcome it did not learn can be replayed at once."""
    state.put("gateway", "audit:0", entry(outcome))
    held(state, "a07", seconds=0)

    assert {"replayed": COUNT} == dict(act(state, BOB))


def test_an_outcome_of_another_run_is_not_claimed(state: FakeState) -> None:
    """Another run has taken the dead letter over, and its service has processed that replay."""

    def taken_over() -> None:
        letter, _ = state.load("order", "dead:a00")
        state.put("order", "dead:a00", {**letter, "status": "replayed", RUN: "9"})

    during(state, 1, taken_over)

    assert {"another run": 1, "replayed": COUNT - 1} == dict(act(state, ANN))


def test_a_write_that_a_sidecar_has_repeated_is_no_conflict(state: FakeState) -> None:
    """The first write has succeeded, so the second one finds another ETag."""
    save = state.save

    def twice(service: str, key: str, value: object, etag: str | None) -> bool:
        return save(service, key, value, etag) and (not key.startswith("dead:"))

    state.save = twice  # type: ignore[method-assign]  # a sidecar that repeats

    assert {"discarded": COUNT} == dict(act(state, ANN, "discard"))


def held(state: FakeState, letter_id: str, seconds: float) -> None:
    """Let run 0 hold a dead letter for so long."""
    since = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")
    letter, _ = state.load("order", f"dead:{letter_id}")
    state.put("order", f"dead:{letter_id}", {**letter, "status": "replaying", "status_time": since, RUN: "0"})


def entry(outcome: str) -> dict[str, object]:
    """Return an entry of the audit trail."""
    return {
        "number": 0,
        "at": "",
        "who": "ann",
        "via": "cli",
        "action": "replay",
        "target": "all",
        "count": 1,
        "outcome": outcome,
    }
