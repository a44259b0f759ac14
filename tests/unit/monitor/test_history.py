"""The tap's history: by subject and correlation id, bounded, for more flows than the page draws."""

from __future__ import annotations

import pytest

from sidecart.monitor import history as module
from sidecart.monitor.event import Event
from sidecart.monitor.history import History


def event(number: int, subject: str = "s", correlation_id: str = "c") -> Event:
    """Return an event with its own id and time."""
    return Event("OrderPaid", f"e{number}", subject, correlation_id, f"2026-01-15T09:30:{number:02}Z", {})


def test_events_are_found_by_either_id_in_the_sequence_of_time() -> None:
    """A repetition counts once."""
    history = History()
    for number in (2, 1, 2):
        history.add(event(number))

    assert ["e1", "e2"] == [each.id for each in history.of("s")] == [each.id for each in history.of("c")]
    assert [] == history.of("other")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids without a new event for the longest time go first."""
    monkeypatch.setattr(module, "IDS_MAX", 2)
    monkeypatch.setattr(module, "EVENTS_MAX", 2)
    history = History()
    for number in range(4):
        history.add(event(number, "busy", ""))
    for subject in ("one", "busy", "two"):
        history.add(event(9, subject, ""))

    assert [2, 0, 1] == [len(history.of(each)) for each in ("busy", "one", "two")]
