"""The dead letters on the page: the newest of them, cut; and what can be done about one."""

from __future__ import annotations

from typing import Any

import pytest

from cli.errors import LaunchError
from monitor import dead_letters as module
from monitor.dead_letters import act, summarize


class Kept:
    """What the services keep, in memory."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Any] = {}
        self.published: list[tuple[str, str]] = []

    def add(self, service: str, letter_id: str, minute: int, **more: str) -> None:
        """One more letter, at that minute."""
        index = self.records.setdefault((service, "dead-index:0"), {"ids": []})
        index["ids"].append(letter_id)
        event = f'{{"id": "{letter_id}", "type": "OrderPaid"}}'
        made = {"topic": "OrderPaid", "reason": "why", "time": f"2026-01-15T09:{minute:02}:00Z", "event": event}
        self.records[service, f"dead:{letter_id}"] = made | more

    def load(self, service: str, key: str) -> tuple[Any, str | None]:
        """What is kept, and how often it was written."""
        stored = self.records.get((service, key))
        return stored, None if stored is None else repr(stored)

    def save(self, service: str, key: str, value: Any, etag: str) -> bool:
        """Write if nobody else has."""
        if etag != self.load(service, key)[1]:
            return False
        self.records[service, key] = value
        return True

    def publish(self, service: str, topic: str, event: bytes, traceparent: str) -> None:
        """Note it."""
        self.published.append((service, topic))


def test_the_newest_are_shown_first_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every service; those that are settled are not."""
    monkeypatch.setattr(module, "SHOWN_MAX", 3)
    stored = Kept()
    for minute, service in enumerate(["order", "billing", "order", "notification"]):
        stored.add(service, f"letter-{minute}", minute)
    stored.add("order", "settled", 9, status="discarded")

    found = summarize(stored)

    assert 4 == found.total
    assert ["letter-3", "letter-2", "letter-1"] == [each.id for each in found.newest]


def test_a_long_letter_is_cut() -> None:
    """The page shows what it is about; the command line has the whole."""
    stored = Kept()
    stored.add("order", "long", 0, reason="r" * 10_000, event="e" * 10_000)

    [shown] = summarize(stored).newest
    assert (module.REASON_CHARACTERS_MAX, module.EVENT_CHARACTERS_MAX) == (len(shown.reason), len(shown.event))


def test_one_is_replayed_or_discarded_and_then_gone() -> None:
    """By its whole id: the beginning of one is not enough here."""
    stored = Kept()
    stored.add("order", "one", 0)
    stored.add("order", "one-more", 1)

    assert "replayed" == act(stored, "order", "one", "replay")
    assert [("order", "OrderPaid")] == stored.published
    assert ["one-more"] == [each.id for each in summarize(stored).newest]
    assert "discarded" == act(stored, "order", "one-more", "discard")
    assert 0 == summarize(stored).total


@pytest.mark.parametrize(("service", "letter_id"), [("order", "on"), ("order", "other"), ("billing", "one")])
def test_one_that_is_not_there_is_said(service: str, letter_id: str) -> None:
    """Somebody else was faster, or the page is old."""
    stored = Kept()
    stored.add("order", "one", 0)

    with pytest.raises(LaunchError, match=f"{service} has no open dead letter {letter_id}"):
        act(stored, service, letter_id, "replay")
