"""Dead letters on the page: the list of the newest, and the actions on one of them."""

from __future__ import annotations

from typing import Any

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.monitor import dead_letters as module
from sidecart.monitor.dead_letters import act, summarize


class MemoryState:
    """The services' state in memory."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Any] = {}
        self.published: list[tuple[str, str]] = []

    def add(self, service: str, letter_id: str, minute: int, **more: str) -> None:
        """Add a dead letter with a time at that minute."""
        index = self.records.setdefault((service, "dead-index:0"), {"ids": []})
        index["ids"].append(letter_id)
        event = f'{{"id": "{letter_id}", "type": "OrderPaid"}}'
        made = {"topic": "OrderPaid", "reason": "why", "time": f"2026-01-15T09:{minute:02}:00Z", "event": event}
        self.records[service, f"dead:{letter_id}"] = made | more

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """A value and its ETag."""
        stored = self.records.get((service, key))
        return stored, None if stored is None else repr(stored)

    def save(self, service: str, key: str, value: Any, etag: str) -> bool:
        """Save the value if the ETag still matches."""
        if etag != self.load(service, key)[1]:
            return False
        self.records[service, key] = value
        return True

    def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
        """Record the publication."""
        self.published.append((app_id, topic))


def test_the_newest_come_first_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list covers all services and omits settled dead letters."""
    monkeypatch.setattr(module, "SHOWN_MAX", 3)
    stored = MemoryState()
    for minute, service in enumerate(["order", "billing", "order", "notification"]):
        stored.add(service, f"letter-{minute}", minute)
    stored.add("order", "settled", 9, status="discarded")

    found = summarize(stored)

    assert 4 == found.total
    assert ["letter-3", "letter-2", "letter-1"] == [each.id for each in found.newest]


def test_a_long_dead_letter_is_truncated() -> None:
    """The page shows a limited part of the reason and of the event."""
    stored = MemoryState()
    stored.add("order", "long", 0, reason="r" * 10_000, event="e" * 10_000)

    [shown] = summarize(stored).newest
    assert (module.REASON_CHARACTERS_MAX, module.EVENT_CHARACTERS_MAX) == (len(shown.reason), len(shown.event))


def test_a_settled_dead_letter_leaves_the_list() -> None:
    """Replay and discard require the complete id."""
    stored = MemoryState()
    stored.add("order", "one", 0)
    stored.add("order", "one-more", 1)

    assert "replayed" == act(stored, "order", "one", "replay")
    assert [("order", "OrderPaid")] == stored.published
    assert ["one-more"] == [each.id for each in summarize(stored).newest]
    assert "discarded" == act(stored, "order", "one-more", "discard")
    assert 0 == summarize(stored).total


@pytest.mark.parametrize(("service", "letter_id"), [("order", "on"), ("order", "other"), ("billing", "one")])
def test_a_missing_dead_letter_is_an_error(service: str, letter_id: str) -> None:
    """Another user may have settled it, or the page may be outdated."""
    stored = MemoryState()
    stored.add("order", "one", 0)

    with pytest.raises(LaunchError, match=f"{service} has no open dead letter {letter_id}"):
        act(stored, service, letter_id, "replay")
