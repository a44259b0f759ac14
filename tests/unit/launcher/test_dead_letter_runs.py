"""A run acts on its selection, can be stopped and repeated, and does nothing without its entry."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from sidecart.launcher import replays
from sidecart.launcher.audit import Operator, newest_entries
from sidecart.launcher.dead_letter_runs import perform, select
from sidecart.launcher.dead_letters import DeadLetter, Filter, find_dead_letters
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY
from tests.unit.launcher.test_dead_letters import FakeState

BOSS = Operator("boss@example.com", "cli")
COUNT = 45
"""More than two reads."""


class FailingState(FakeState):
    """State whose gateway may be unreachable."""

    gateway_is_down = False

    def save(self, service: str, key: str, value: Any, etag: str | None) -> bool:
        """Fail for the gateway's store."""
        if service == GATEWAY and self.gateway_is_down:
            raise LaunchError("the state of gateway is unreachable")
        return super().save(service, key, value, etag)


@pytest.fixture
def state() -> FailingState:
    """Dead letters of one cause, and one of another."""
    fake = FailingState()
    event = json.dumps({"id": "1", "type": "OrderPaid"})
    ids = [f"a{number:03}" for number in range(COUNT)]
    fake.put("order", "dead-index:0", {"ids": [*ids, "other"]})
    for each in ids:
        fake.put("order", f"dead:{each}", {"topic": "OrderPaid", "reason": f"no order {each[1:]}", "event": event})
    fake.put("order", "dead:other", {"topic": "OrderPaid", "reason": "malformed", "event": event})
    return fake


def group(state: FakeState) -> Filter:
    """Return the filter of the large group."""
    return Filter(group=next(find_dead_letters(state)).cause.id)


def ignore(_letter: DeadLetter, _outcome: str, _why: str) -> None:
    """Report nothing."""


def left(state: FakeState) -> int:
    """Return the number of open dead letters."""
    return len(list(find_dead_letters(state)))


@pytest.mark.parametrize(("action", "outcome"), [("replay", "replayed"), ("discard", "discarded")])
def test_a_group_is_done_with_one_entry(state: FailingState, action: str, outcome: str) -> None:
    """The other group stays."""
    found = perform(state, action, select(state, group(state)), BOSS, ignore)

    assert ({outcome: COUNT}, 1) == (dict(found), left(state))
    [entry] = newest_entries(state)
    assert (action, "boss@example.com", COUNT, "completed", {outcome: COUNT}) == (
        entry.action,
        entry.who,
        entry.count,
        entry.outcome,
        entry.results,
    )


@pytest.mark.parametrize("action", ["replay", "discard"])
def test_without_an_entry_nothing_happens(state: FailingState, action: str) -> None:
    """The audit trail is unreachable, so no event is published, and no letter changes."""
    before, state.gateway_is_down = dict(state.stored), True

    with pytest.raises(LaunchError, match="the audit trail cannot be written, so nothing was done"):
        perform(state, action, select(state, group(state)), BOSS, ignore)

    assert (before, []) == (state.stored, state.published)


def test_the_entry_is_there_before_the_first_event(state: FailingState) -> None:
    """A run that is killed has left its entry, without an outcome."""
    seen: list[str] = []
    state.on_publish = lambda: seen.append(newest_entries(state)[0].outcome)

    perform(state, "replay", select(state, group(state)), BOSS, ignore)

    assert {"begun"} == set(seen)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_can_be_repeated(state: FailingState, error: type[BaseException]) -> None:
    """The entry has the counts so far; the letters that were not reached are still open."""
    stop_after(state, 10, raising(error))

    with pytest.raises(error):
        perform(state, "replay", select(state, group(state)), BOSS, ignore)
    [entry] = newest_entries(state)
    assert ("interrupted", {"replayed": 9}) == (entry.outcome, entry.results)

    again = perform(state, "replay", select(state, group(state)), BOSS, ignore)
    assert ({"replayed": COUNT - 9}, 1) == (dict(again), left(state))


def test_a_stopped_run_says_what_is_left(state: FailingState) -> None:
    """Stop takes effect after the current letter."""
    done: list[str] = []

    found = perform(
        state,
        "discard",
        select(state, group(state)),
        BOSS,
        lambda letter, _outcome, _why: done.append(letter.id),
        lambda: len(done) == 10,
    )

    assert {"discarded": 10, "not reached": COUNT - 10} == found
    assert ("interrupted", COUNT - 10 + 1) == (newest_entries(state)[0].outcome, left(state))


def test_a_letter_that_another_run_has_settled_is_left_alone(state: FailingState) -> None:
    """The other replay is not repeated."""
    selection = select(state, group(state))
    perform(state, "replay", select(state, Filter(("a000",))), BOSS, ignore)

    found = perform(state, "replay", selection, BOSS, ignore)

    assert ({"another run": 1, "replayed": COUNT - 1}, COUNT) == (dict(found), len(state.published))


def test_a_run_counts_what_its_service_tells(state: FailingState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some events fail again, and some have no outcome yet; the trail has the same counts."""
    monkeypatch.setattr(replays, "WAIT_SECONDS", 0)
    monkeypatch.setattr(replays, "SILENT_WAIT_SECONDS", 0)
    state.settles = False
    reported: list[str] = []

    def process() -> None:
        count = len(state.published)
        key = f"dead:a{count - 1:03}"
        letter, _ = state.load("order", key)
        if count % 3 == 1:
            state.put("order", key, {**letter, "status": "replayed"})
        if count % 3 == 2:
            state.put("order", key, {**letter, "status": "open"})

    state.on_publish = process
    found = perform(
        state, "replay", select(state, group(state)), BOSS, lambda _, outcome, why: reported.append(outcome)
    )

    assert {"replayed": 15, "failed again": 15, "not known yet": 15} == dict(found) == dict(Counter(reported))
    assert ("completed", dict(found)) == (newest_entries(state)[0].outcome, newest_entries(state)[0].results)
    assert COUNT - 15 + 1 == left(state)


def test_an_outcome_that_an_interrupted_run_did_not_learn_is_unknown(state: FailingState) -> None:
    """The trail does not claim that the events were processed."""
    state.settles = False
    stop_after(state, 10, raising(KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        perform(state, "replay", select(state, group(state)), BOSS, ignore)

    assert {"not known yet": 9} == newest_entries(state)[0].results


def test_a_failure_stops_no_other_letter(state: FailingState) -> None:
    """Its reason is reported."""
    state.put("order", "dead:a007", {"topic": "OrderPaid", "reason": "no order 7", "event": "not JSON"})
    failures: list[str] = []

    def note(_letter: DeadLetter, outcome: str, why: str) -> None:
        failures.extend([why] if outcome == "failed" else [])

    found = perform(state, "replay", select(state, group(state)), BOSS, note)

    assert {"replayed": COUNT - 1, "failed": 1} == found
    assert ["you can only discard it" in each for each in failures] == [True]


@pytest.mark.parametrize(
    ("chosen", "target"),
    [
        (Filter(), "all"),
        (Filter(service="order", topic="OrderPaid"), "service order, topic OrderPaid"),
        (Filter(("a00",)), "a000, a001, a002, a003, a004 and 5 more"),
        (Filter(since="2026-01-15"), "since 2026-01-15"),
    ],
)
def test_the_trail_names_the_selection(state: FailingState, chosen: Filter, target: str) -> None:
    """The first ids are enough."""
    perform(state, "discard", select(state, chosen), BOSS, ignore)

    assert target == newest_entries(state)[0].target


PERSONS = ["Zoe Personname", "zoe.local", '"zoe b"@example.com', "zoe\uff20example.com", "zoe&#64;example.com"]


@pytest.mark.parametrize("person", [*PERSONS, "Ann@Example.com"])
@pytest.mark.parametrize("more", [{}, {"service": "order", "ids": ("p",)}])
def test_no_text_of_an_operator_is_in_the_trail(state: FailingState, person: str, more: dict[str, Any]) -> None:
    """It would outlive the erasure of the person; the groups say what was selected."""
    event = json.dumps({"id": "1", "type": "OrderPaid"})
    state.put("order", "dead-index:1", {"ids": ["person"]})
    state.put("order", "dead:person", {"topic": "OrderPaid", "reason": f"no user {person}", "event": event})
    selection = select(state, Filter(reason=person.upper(), **more))
    [letter] = find_dead_letters(state, Filter(("person",)))

    perform(state, "discard", selection, BOSS, ignore)

    [entry] = newest_entries(state)
    assert entry.target.endswith(f"a reason of group {letter.cause.id}")
    assert (1, {"discarded": 1}) == (entry.count, entry.results)
    assert [] == [value for (_, key), (value, _) in state.stored.items() if "audit" in key and person in str(value)]


def test_the_groups_of_a_reason_are_cut(state: FailingState) -> None:
    """An entry has a limit."""
    state.put("order", "dead-index:1", {"ids": [f"c{each}" for each in "uvwxyz"]})
    for each in "uvwxyz":
        state.put("order", f"dead:c{each}", {"topic": "OrderPaid", "reason": f"cause {each}", "event": ""})

    perform(state, "discard", select(state, Filter(reason="cause")), BOSS, ignore)

    assert newest_entries(state)[0].target.endswith(" and 1 more")
    assert 5 == newest_entries(state)[0].target.count("group ")


def stop_after(state: FakeState, count: int, then: Callable[[], None]) -> None:
    """Call `then` in place of a publish."""
    calls: list[None] = []

    def publish() -> None:
        calls.append(None)
        if len(calls) == count:
            then()

    state.on_publish = publish


def raising(error: type[BaseException]) -> Callable[[], None]:
    """Return a function that raises an error."""

    def fail() -> None:
        raise error

    return fail
