"""Dead letters are grouped by cause, with their number and their first and last time."""

from __future__ import annotations

import pytest

from sidecart.launcher import dead_letter_groups as module
from sidecart.launcher.causes import Cause, cause_of
from sidecart.launcher.dead_letter_groups import group_dead_letters, require_group
from sidecart.launcher.errors import LaunchError
from tests.unit.launcher.test_dead_letters import FakeState


@pytest.fixture
def state() -> FakeState:
    """Three letters of one cause, one of another, and one of each other status."""
    fake = FakeState()
    reasons = ["there is no order 1", "there is no order 2", "there is no order 3", "unexpected event"]
    statuses = {4: "replayed", 5: "discarded", 6: "erased", 7: "replaying"}
    ids = [f"letter-{number}" for number in range(8)]
    fake.put("order", "dead-index:0", {"ids": ids})
    for number, each in enumerate(ids):
        letter = {
            "topic": "OrderPaid",
            "reason": reasons[number] if number < 4 else "there is no order 9",
            "time": f"2026-01-{10 + (number * 3) % 8}T00:00:00.000Z",
            "event": "{}",
            "status": statuses.get(number, "open"),
        }
        fake.put("order", f"dead:{each}", letter)
    return fake


def test_a_group_has_count_and_times(state: FakeState) -> None:
    """Settled letters do not count; an erased one counts apart."""
    found = group_dead_letters(state).groups

    assert ["there is no order <n>", "unexpected event"] == [each.reason for each in found]
    first = found[0]
    assert (4, 1) == (first.open, first.erased)  # with the interrupted replay
    times = [state.load("order", f"dead:letter-{number}")[0]["time"] for number in (0, 1, 2, 6, 7)]
    assert (min(times), max(times)) == (first.first, first.last)
    assert max(times) == state.load("order", f"dead:{first.example}")[0]["time"]
    assert cause_of("order", "OrderPaid", "there is no order 5").id == first.id


def test_memory_is_bounded(state: FakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead letters of further causes are counted without a group."""
    monkeypatch.setattr(module, "GROUPS_MAX", 1)

    found = group_dead_letters(state)

    assert (1, 1) == (len(found.groups), found.ungrouped)


def test_a_group_without_open_dead_letters_is_an_error(state: FakeState) -> None:
    """A mistyped id would otherwise look like nothing to do."""
    id_ = cause_of("order", "OrderPaid", "unexpected event").id
    assert [id_] * 2 == [require_group(state, each) for each in (id_, id_[:3])]
    for unknown in ("1234", ""):
        with pytest.raises(LaunchError, match=f"no open dead letter is in the group {unknown}"):
            require_group(state, unknown)


def test_a_start_that_several_groups_share_is_an_error(state: FakeState, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run must not take another group than the operator means."""
    ids = {"unexpected event": "aa00000000"}
    monkeypatch.setattr(Cause, "id", property(lambda cause: ids.get(cause.reason, "aa11111111")))

    with pytest.raises(LaunchError, match="2 groups begin with aa: give more characters of the id"):
        require_group(state, "aa")
    assert "aa11111111" == require_group(state, "aa1")
