"""The events that the tap has seen, by subject and by correlation id, for many more flows than the
page draws.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sidecart.monitor.event import Event

IDS_MAX = 20_000
"""Ids in memory. An id with its usual six events takes 1 KB."""
EVENTS_MAX = 60
"""Events of one id: its oldest ones are kept, and repetitions are not."""


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event that passed while a viewer had the page open."""

    at: str
    topic: str
    id: str


class History:
    """Remembers the newest ids, each with its events."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, dict[str, SeenEvent]] = OrderedDict()

    def add(self, event: Event) -> None:
        """Remember an event by its subject and its correlation id."""
        for key in {event.subject, event.correlation_id} - {""}:
            events = self._by_id.setdefault(key, {})
            self._by_id.move_to_end(key)
            if len(events) < EVENTS_MAX:
                events.setdefault(event.id, SeenEvent(event.time, event.topic, event.id))
        while len(self._by_id) > IDS_MAX:
            self._by_id.popitem(last=False)

    def of(self, id_: str) -> list[SeenEvent]:
        """Return the events of an id in the sequence of their times."""
        return sorted(self._by_id.get(id_, {}).values(), key=lambda each: each.at)
