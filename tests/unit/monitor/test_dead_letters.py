"""Dead letters on the page: the list of the newest, the groups, and the actions on one of them."""

from __future__ import annotations

import pytest

from sidecart.launcher.audit import Operator, newest_entries
from sidecart.launcher.errors import LaunchError
from sidecart.monitor import dead_letters as module
from sidecart.monitor.dead_letters import act, summarize
from tests.unit.launcher.test_dead_letters import FakeState

BOSS = Operator("boss@example.com", "page")


def add(state: FakeState, service: str, letter_id: str, minute: int, **more: str) -> None:
    """Add a dead letter with a time at that minute."""
    index = state.load(service, "dead-index:0")[0] or {"ids": []}
    state.put(service, "dead-index:0", {"ids": [*index["ids"], letter_id]})
    event = f'{{"id": "{letter_id}", "type": "OrderPaid"}}'
    made = {"topic": "OrderPaid", "reason": "why", "time": f"2026-01-15T09:{minute:02}:00Z", "event": event}
    state.put(service, f"dead:{letter_id}", made | more)


def test_the_newest_come_first_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list covers all services and omits settled dead letters."""
    monkeypatch.setattr(module, "SHOWN_MAX", 3)
    state = FakeState()
    for minute, service in enumerate(["order", "billing", "order", "notification"]):
        add(state, service, f"letter-{minute}", minute)
    add(state, "order", "settled", 9, status="discarded")

    found = summarize(state)

    assert 4 == found.total
    assert ["letter-3", "letter-2", "letter-1"] == [each.id for each in found.newest]
    assert [("order", 2), ("billing", 1), ("notification", 1)] == sorted(
        ((each.service, each.open) for each in found.groups), key=lambda each: (-each[1], each[0])
    )


def test_groups_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page shows the largest ones."""
    monkeypatch.setattr(module, "GROUPS_SHOWN_MAX", 1)
    state = FakeState()
    for minute, service in enumerate(["order", "billing", "order"]):
        add(state, service, f"letter-{minute}", minute)

    found = summarize(state)

    assert (["order"], 1) == ([each.service for each in found.groups], found.more)


def test_an_erased_dead_letter_is_shown_as_such() -> None:
    """It is not open, and its group says why it cannot be replayed."""
    state = FakeState()
    add(state, "order", "gone", 1, status="erased", event="")

    found = summarize(state)

    assert (0, []) == (found.total, found.newest)
    assert [(0, 1)] == [(each.open, each.erased) for each in found.groups]


def test_a_long_dead_letter_is_truncated() -> None:
    """The page shows a limited part of the reason and of the event."""
    state = FakeState()
    add(state, "order", "long", 0, reason="r" * 10_000, event="e" * 10_000)

    [shown] = summarize(state).newest
    assert (module.REASON_CHARACTERS_MAX, module.EVENT_CHARACTERS_MAX) == (len(shown.reason), len(shown.event))


def test_a_settled_dead_letter_leaves_the_list_and_the_trail_names_the_operator() -> None:
    """Replay and discard require the complete id."""
    state = FakeState()
    add(state, "order", "one", 0)
    add(state, "order", "one-more", 1)

    assert "replayed" == act(state, "order", "one", "replay", BOSS)
    assert [("order", "OrderPaid")] == [each[:2] for each in state.published]
    assert ["one-more"] == [each.id for each in summarize(state).newest]
    assert "discarded" == act(state, "order", "one-more", "discard", BOSS)
    assert 0 == summarize(state).total
    assert [
        ("discard", "boss@example.com", "one-more, service order"),
        ("replay", "boss@example.com", "one, service order"),
    ] == [(each.action, each.who, each.target) for each in newest_entries(state)]


@pytest.mark.parametrize(("service", "letter_id"), [("order", "on"), ("order", "other"), ("billing", "one")])
def test_a_missing_dead_letter_is_an_error(service: str, letter_id: str) -> None:
    """Another operator may have settled it, or the page may be outdated; nothing is audited."""
    state = FakeState()
    add(state, "order", "one", 0)

    with pytest.raises(LaunchError, match=f"{service} has no open dead letter {letter_id}"):
        act(state, service, letter_id, "replay", BOSS)
    assert [] == newest_entries(state)


def test_the_reason_of_a_failed_replay_is_reported() -> None:
    """The page shows why; the trail counts the failure."""
    state = FakeState()
    add(state, "order", "one", 0, event="not JSON")

    with pytest.raises(LaunchError, match="you can only discard it"):
        act(state, "order", "one", "replay", BOSS)
    assert {"failed": 1} == newest_entries(state)[0].results
