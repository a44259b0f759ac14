"""Replay and discard lose no dead letter, despite interruptions and concurrent changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from sidecart.launcher.dead_letters import DeadLetter, Filter, find_dead_letters
from sidecart.launcher.errors import LaunchError
from tests.replay import discard, replay

EVENT = {"specversion": "1.0", "id": "1", "type": "OrderPaid", "data": {}}
DELIVERED = {**EVENT, "topic": "OrderPaid", "pubsubname": "inbox", "traceid": "", "traceparent": "t", "expiration": ""}


class FakeState:
    """State with ETags, and a broker that records events and then calls `on_publish`.

    The services have then processed the event, unless `settles` is false.
    """

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], tuple[Any, str]] = {}
        self.published: list[tuple[str, str, Any, str]] = []
        self.on_publish: Callable[[], None] = lambda: None
        self.settles = True
        self._versions = 0

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """Read a key."""
        return self.stored.get((service, key), (None, None))

    def load_many(self, service: str, keys: Sequence[str]) -> list[Any]:
        """Read some keys."""
        return [self.load(service, key)[0] for key in keys]

    def save(self, service: str, key: str, value: Any, etag: str | None) -> bool:
        """Write a key if the ETag is current, or the key is free."""
        if self.load(service, key)[1] != etag:
            return False
        self.put(service, key, value)
        return True

    def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
        """Record the event."""
        self.published.append((app_id, topic, json.loads(event), traceparent))
        self.on_publish()
        if self.settles:
            self.settle()

    def settle(self) -> None:
        """Process the replayed events, as the services do."""
        for (service, key), (value, _) in list(self.stored.items()):
            if key.startswith("dead:") and value.get("status") == "replaying":
                self.put(service, key, {**value, "status": "replayed"})

    def put(self, service: str, key: str, value: Any) -> None:
        """Write a key unconditionally."""
        self._versions += 1
        self.stored[service, key] = (json.loads(json.dumps(value)), str(self._versions))


@pytest.fixture
def state() -> FakeState:
    """One service with two dead letters, and another with one."""
    return two_services()


def two_services() -> FakeState:
    """Return a state in which one service has two dead letters, and another one."""
    fake = FakeState()
    letter = {"event": json.dumps(DELIVERED), "topic": "OrderPaid", "reason": "Broken bulb", "traceparent": "00-trace"}
    fake.put("user", "dead-index:0", {"ids": ["a1", "b2", "gone"]})
    fake.put("user", "dead:a1", {**letter, "time": "2026-01-01T00:00:00.000Z"})
    fake.put("user", "dead:b2", {**letter, "time": "2026-02-01T00:00:00.000Z", "topic": "OrderNotPaid"})
    fake.put("order", "dead-index:0", {"ids": ["a1"]})
    fake.put("order", "dead:a1", {**letter, "time": "2026-03-01T00:00:00.000Z", "reason": "no socket"})
    return fake


def one(state: FakeState, **selection: Any) -> DeadLetter:
    """The first dead letter of the user service."""
    return next(find_dead_letters(state, Filter(service="user", **selection)))


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Filter(), ["user a1", "user b2", "order a1"]),
        (Filter(service="order"), ["order a1"]),
        (Filter(("a",)), ["user a1", "order a1"]),
        (Filter(topic="OrderNotPaid"), ["user b2"]),
        (Filter(reason="BULB"), ["user a1", "user b2"]),
        (Filter(since="2026-02"), ["user b2", "order a1"]),
        (Filter(("c",)), []),
    ],
)
def test_dead_letters_are_filtered(state: FakeState, selection: Filter, found: list[str]) -> None:
    """The filter covers all fields; an id without a dead letter is omitted."""
    assert found == [f"{each.service} {each.id}" for each in find_dead_letters(state, selection)]


def test_a_replay_publishes_the_original_event_with_its_trace(state: FakeState) -> None:
    """The publisher's sidecar publishes it, without a sidecar's attributes; the dead letter is
    settled.
    """
    assert "replayed" == replay(state, one(state))

    assert [("order", "OrderPaid", {**EVENT, "replay": "true"}, "00-trace")] == state.published
    assert ["b2"] == [each.id for each in find_dead_letters(state, Filter(service="user"))]
    assert "replayed" == one(state, settled=True).status


TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("in_event", "in_letter", "expected"),
    [
        (TRACEPARENT, "", TRACEPARENT),
        ("", TRACEPARENT, TRACEPARENT),
        (TRACEPARENT, TRACEPARENT.replace("b7ad", "ffff"), TRACEPARENT),
        ("00-x", "", None),
        (7, None, None),
        ({}, "x", None),
    ],
)
def test_a_replayed_event_continues_its_trace(
    state: FakeState, in_event: object, in_letter: object, expected: str | None
) -> None:
    """A malformed trace is dropped, because it would end the consumers' sidecars."""
    stored, _ = state.load("user", "dead:a1")
    event = json.dumps({**DELIVERED, "traceparent": in_event, "traceid": in_event})
    state.put("user", "dead:a1", {**stored, "event": event, "traceparent": in_letter})
    replay(state, one(state))
    [(_, _, published, _)] = state.published

    trace = {} if expected is None else {"traceid": TRACE_ID, "traceparent": expected}
    assert {**EVENT, "replay": "true", **trace} == published


def test_an_interrupted_replay_can_be_repeated(state: FakeState) -> None:
    """After an interruption before or after the publish, the dead letter is still open."""

    def interrupted() -> None:
        raise LaunchError("the shop was stopped")

    state.on_publish = interrupted
    with pytest.raises(LaunchError):
        replay(state, one(state))
    left = one(state)
    state.on_publish = lambda: None

    assert "replaying" == left.status
    assert "replayed" == replay(state, left)
    assert 2 == len(state.published)


def test_an_event_that_fails_again_leaves_its_dead_letter_open(state: FakeState) -> None:
    """The dead letter that the service wrote during the replay stays."""
    rewritten = {"event": "{}", "topic": "OrderPaid", "reason": "still broken", "time": "2026-04-01T00:00:00.000Z"}
    state.on_publish = lambda: state.put("user", "dead:a1", rewritten)

    assert "failed again" == replay(state, one(state))
    assert ("open", "still broken") == (one(state).status, one(state).reason)


@pytest.mark.parametrize("act", [replay, discard])
def test_a_concurrent_change_is_not_overwritten(state: FakeState, act: Callable[[FakeState, DeadLetter], str]) -> None:
    """Of two concurrent users, the second one learns that another one was faster."""
    seen = one(state)
    discard(state, seen)

    assert "another run" == act(state, seen)
    assert [] == state.published


def test_a_discarded_dead_letter_is_no_longer_listed(state: FakeState) -> None:
    """A discarded dead letter can still be shown."""
    assert "discarded" == discard(state, one(state))

    assert ["b2"] == [each.id for each in find_dead_letters(state, Filter(service="user"))]
    assert "discarded" == one(state, settled=True).status


@pytest.mark.parametrize(
    "event", ["not JSON", "[]", "{}", '{"id": 1, "type": "OrderPaid"}', '{"id": "1", "type": "L\ufffd"}']
)
def test_a_malformed_event_can_only_be_discarded(state: FakeState, event: str) -> None:
    """The error is raised before anything is written."""
    state.put("user", "dead:a1", {"event": event, "topic": "OrderPaid", "time": "2026-01-01T00:00:00.000Z"})

    with pytest.raises(LaunchError, match="you can only discard it"):
        replay(state, one(state))
    assert "open" == one(state).status
    assert "discarded" == discard(state, one(state))


def test_a_letter_of_a_removed_topic_can_only_be_discarded(state: FakeState) -> None:
    """No sidecar may publish the topic; the dead letter stays open."""
    state.put("user", "dead:a1", {**state.load("user", "dead:a1")[0], "topic": "Removed"})
    letter = one(state)

    with pytest.raises(LaunchError, match=r"topics\.json lacks the topic Removed"):
        replay(state, letter)
    assert one(state).is_open
    assert "discarded" == discard(state, letter)
