"""Replay and discard: nothing is forgotten, whoever breaks off and whoever is faster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from cli.dead_letters import DeadLetter, Filter, RunningState, discard, find_dead_letters, replay
from cli.errors import LaunchError
from tests.unit.chassis.daprd import daprd

EVENT = {"specversion": "1.0", "id": "1", "type": "Lamp", "data": {}}
DELIVERED = {**EVENT, "topic": "Lamp", "pubsubname": "inbox", "traceid": "", "traceparent": "t", "expiration": ""}


class FakeState:
    """State with ETags, and a broker that only remembers; `on_publish` is what a service does with an event."""

    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], tuple[Any, str]] = {}
        self.published: list[tuple[str, str, Any, str]] = []
        self.on_publish: Callable[[], None] = lambda: None
        self._versions = 0

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """Read."""
        return self.stored.get((service, key), (None, None))

    def save(self, service: str, key: str, value: Any, etag: str) -> bool:
        """Write by ETag."""
        if self.load(service, key)[1] != etag:
            return False
        self.put(service, key, value)
        return True

    def publish(self, service: str, topic: str, event: bytes, traceparent: str) -> None:
        """Remember it."""
        self.published.append((service, topic, json.loads(event), traceparent))
        self.on_publish()

    def put(self, service: str, key: str, value: Any) -> None:
        """Write, whatever is there."""
        self._versions += 1
        self.stored[service, key] = (json.loads(json.dumps(value)), str(self._versions))


@pytest.fixture
def state() -> FakeState:
    """One service with two letters, another with one."""
    made = FakeState()
    letter = {"event": json.dumps(DELIVERED), "topic": "Lamp", "reason": "Broken bulb", "traceparent": "00-trace"}
    made.put("user", "dead-index:0", {"ids": ["a1", "b2", "gone"]})
    made.put("user", "dead:a1", {**letter, "time": "2026-01-01T00:00:00.000Z"})
    made.put("user", "dead:b2", {**letter, "time": "2026-02-01T00:00:00.000Z", "topic": "Lantern"})
    made.put("order", "dead-index:0", {"ids": ["a1"]})
    made.put("order", "dead:a1", {**letter, "time": "2026-03-01T00:00:00.000Z", "reason": "no socket"})
    return made


def one(state: FakeState, **selection: Any) -> DeadLetter:
    """The letter of the user service that comes first."""
    return next(find_dead_letters(state, Filter(service="user", **selection)))


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Filter(), ["user a1", "user b2", "order a1"]),
        (Filter(service="order"), ["order a1"]),
        (Filter(("a",)), ["user a1", "order a1"]),
        (Filter(topic="Lantern"), ["user b2"]),
        (Filter(reason="BULB"), ["user a1", "user b2"]),
        (Filter(since="2026-02"), ["user b2", "order a1"]),
        (Filter(("c",)), []),
    ],
)
def test_letters_are_filtered(state: FakeState, selection: Filter, found: list[str]) -> None:
    """By service, id, topic, reason and time; an id without a letter is left out."""
    assert found == [f"{each.service} {each.id}" for each in find_dead_letters(state, selection)]


def test_a_replay_publishes_the_event_as_it_was_with_its_trace(state: FakeState) -> None:
    """Without what the sidecar added, on its own topic; then the letter is settled."""
    assert "replayed" == replay(state, one(state))

    assert [("user", "Lamp", EVENT, "00-trace")] == state.published
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
def test_a_replayed_event_is_in_the_trace_that_it_was_in(
    state: FakeState, in_event: object, in_letter: object, expected: str | None
) -> None:
    """If that is well-formed: what is not a string would end the sidecar of whoever reads the event."""
    stored, _ = state.load("user", "dead:a1")
    event = json.dumps({**DELIVERED, "traceparent": in_event, "traceid": in_event})
    state.put("user", "dead:a1", {**stored, "event": event, "traceparent": in_letter})
    replay(state, one(state))
    [(_, _, published, _)] = state.published

    trace = {} if expected is None else {"traceid": TRACE_ID, "traceparent": expected}
    assert {**EVENT, **trace} == published


def test_a_replay_that_was_broken_off_can_be_done_again(state: FakeState) -> None:
    """Before the publish or after it: the letter is still open."""

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


def test_an_event_that_fails_again_leaves_its_letter_open(state: FakeState) -> None:
    """The service was faster than the mark: what it wrote stays."""
    anew = {"event": "{}", "topic": "Lamp", "reason": "broken still", "time": "2026-04-01T00:00:00.000Z"}
    state.on_publish = lambda: state.put("user", "dead:a1", anew)

    assert "failed again" == replay(state, one(state))
    assert ("open", "broken still") == (one(state).status, one(state).reason)


@pytest.mark.parametrize("act", [replay, discard])
def test_somebody_elses_change_is_not_overwritten(
    state: FakeState, act: Callable[[FakeState, DeadLetter], str]
) -> None:
    """Two people at once: the second one is told."""
    seen = one(state)
    discard(state, seen)

    assert "changed meanwhile" == act(state, seen)
    assert [] == state.published


@pytest.mark.parametrize("status", [409, 500])
def test_a_store_that_refuses_writes_is_not_taken_for_somebody_elses_change(status: int) -> None:
    """The letter is what it was: who discards it is told the store's reason, not that it changed meanwhile."""

    async def scenario() -> None:
        async with daprd() as played:
            state = RunningState({"user-sidecar": played.port}, "token")
            played.state["dead:1"] = b"{}", 1
            assert await asyncio.to_thread(state.save, "user", "dead:1", {"status": "discarded"}, "1")
            assert not await asyncio.to_thread(state.save, "user", "dead:1", {"status": "discarded"}, "1")
            played.refuses_writes = status
            with pytest.raises(LaunchError, match=r"refuses writes.*25006"):
                await asyncio.to_thread(state.save, "user", "dead:1", {"status": "open"}, "2")

    asyncio.run(scenario())


def test_a_discarded_letter_is_listed_no_more(state: FakeState) -> None:
    """It can still be shown."""
    assert "discarded" == discard(state, one(state))

    assert ["b2"] == [each.id for each in find_dead_letters(state, Filter(service="user"))]
    assert "discarded" == one(state, settled=True).status


@pytest.mark.parametrize(
    "event", ["not JSON", "[]", "{}", '{"id": 1, "type": "Lamp"}', '{"id": "1", "type": "L\ufffd"}']
)
def test_what_is_no_event_can_only_be_discarded(state: FakeState, event: str) -> None:
    """Said before anything is written."""
    state.put("user", "dead:a1", {"event": event, "topic": "Lamp", "time": "2026-01-01T00:00:00.000Z"})

    with pytest.raises(LaunchError, match="can only be discarded"):
        replay(state, one(state))
    assert "open" == one(state).status
    assert "discarded" == discard(state, one(state))
