"""The outcome of a replay is what the service tells, or it is not known."""

from __future__ import annotations

import time

import pytest

from sidecart.launcher import replays
from sidecart.launcher.claims import Run
from sidecart.launcher.replays import Outcomes, publish_again
from tests.replay import replay
from tests.unit.launcher.test_dead_letters import FakeState, one, two_services


@pytest.fixture
def state() -> FakeState:
    """Two services with dead letters."""
    return two_services()


def test_an_event_that_fails_late_leaves_its_dead_letter_open(
    state: FakeState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcome is that of the service, however late it is."""
    rewritten = {"event": "{}", "topic": "OrderPaid", "reason": "still broken", "time": "2026-04-01T00:00:00.000Z"}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            state.put("user", "dead:a1", rewritten)

    state.settles = False
    monkeypatch.setattr(time, "sleep", pause)

    assert ("failed again", 3) == (replay(state, one(state)), len(pauses))
    assert ("open", "still broken") == (one(state).status, one(state).reason)


def test_an_event_without_an_outcome_is_not_replayed(state: FakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its service may be stopped; the dead letter stays until the service has processed it."""
    monkeypatch.setattr(replays, "WAIT_SECONDS", 0)
    state.settles = False

    assert "not known yet" == replay(state, one(state))
    assert ("replaying", True) == (one(state).status, one(state).is_open)
    state.settle()
    assert "replayed" == one(state, settled=True).status


def test_a_silent_service_is_awaited_for_less_time(state: FakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run on many dead letters of a stopped service ends soon; an outcome restores the wait."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    state.settles = False
    run, letter = Run(state, 0), one(state)
    outcomes = Outcomes(state, run, lambda: False)
    publish_again(state, run, letter)

    def waited() -> float:
        started = clock[0]
        list(outcomes.wait("user", [letter]))
        return clock[0] - started

    first, second = waited(), waited()
    state.settle()
    assert 0 == waited()
    state.put("user", "dead:a1", {**state.load("user", "dead:a1")[0], "status": "replaying"})

    long, short = replays.WAIT_SECONDS, replays.SILENT_WAIT_SECONDS
    assert [True] * 3 == [
        limit < each < limit + 2 * replays.POLL_SECONDS_MAX
        for each, limit in ((first, long), (second, short), (waited(), long))
    ]


def test_a_dead_letter_that_another_run_discarded_meanwhile_is_not_claimed(state: FakeState) -> None:
    """Its outcome is that of the other run."""
    state.on_publish = lambda: state.put("user", "dead:a1", {**state.load("user", "dead:a1")[0], "status": "discarded"})

    assert "another run" == replay(state, one(state))
