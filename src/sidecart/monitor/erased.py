"""The people whose data the page must forget, because an event has erased them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from sidecart.monitor.description import ErasureEntry
from sidecart.monitor.event import Event

ERASED_MAX = 10_000
"""Ids of erased people: their late events and mails show no data."""
TEXT = "erased"
"""Shown instead of the texts of a flow."""


class Erased:
    """The newest erased people; without an entry in the description, no event erases."""

    def __init__(self, entry: ErasureEntry | None) -> None:
        self._entry = entry
        self._ids: OrderedDict[str, None] = OrderedDict()

    @property
    def is_declared(self) -> bool:
        """Whether the project has an event that erases."""
        return self._entry is not None

    def person_of(self, data: Mapping[str, Any]) -> str:
        """Return the id of the person that an event or a request names; empty if there is none."""
        named = None if self._entry is None else data.get(self._entry.id)
        return named.casefold() if isinstance(named, str) else ""

    def is_erased(self, person: str) -> bool:
        """Return whether this person was erased."""
        return person in self._ids

    def is_kind(self, name: str) -> bool:
        """Return whether the resources of this kind are people."""
        return self._entry is not None and name == self._entry.id

    def add(self, event: Event) -> str:
        """Remember the person whom an event erases, and return the id; empty for another event."""
        if self._entry is None or event.topic != self._entry.topic:
            return ""
        person = self.person_of(event.data)
        if person:
            self._ids[person] = None
            self._ids.move_to_end(person)
            if len(self._ids) > ERASED_MAX:
                self._ids.popitem(last=False)
        return person
