"""The resources that events and responses have named, which forms and panels offer by name."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sidecart.launcher.project import root
from sidecart.launcher.topics import CONTRACTS
from sidecart.monitor.description import Description, ResourceEntry
from sidecart.monitor.erased import Erased
from sidecart.monitor.event import Event
from sidecart.monitor.templates import SHORT_CHARACTERS, render

RESOURCES_MAX = 100
"""Resources of one kind."""
CHARACTERS_MAX = 254
"""Characters of a field: publishers other than the gateway have no limit."""
UUID_REFERENCE = "/uuid"
DEFAULT = ResourceEntry(title="", label="")


@cache
def id_fields(topic: str) -> tuple[str, ...]:
    """Return the fields of an event that its contract declares as UUIDs; none without one."""
    file = root() / CONTRACTS / "schemas" / f"{topic}.json"
    if not file.is_file():
        return ()
    data = json.loads(file.read_text(encoding="utf-8"))["properties"]["data"].get("properties", {})
    return tuple(
        name
        for name, schema in data.items()
        if schema.get("format") == "uuid" or schema.get("$ref", "").endswith(UUID_REFERENCE)
    )


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, as the page lists it."""

    kind: str
    """The name of its id."""
    id: str
    label: str
    detail: str


class Resources:
    """The newest resources of each kind."""

    def __init__(self, description: Description) -> None:
        self._entries = description.resources
        self._fields: dict[str, OrderedDict[str, Mapping[str, str]]] = {}
        self._resources: dict[tuple[str, str], Resource] = {}
        self._people: dict[tuple[str, str], str] = {}
        """The person whom the data of a resource named."""
        self.erased = Erased(description.erasure)

    def all(self) -> list[Resource]:
        """All resources, oldest first."""
        return list(self._resources.values())

    def of_event(self, event: Event) -> Resource | None:
        """Remember the subject of an event; return it if it is new or has changed."""
        for name in id_fields(event.topic):
            if event.subject and event.data.get(name) == event.subject:
                return self._remember(name, event.subject, event.data)
        return None

    def of_answer(self, resource_id: str, answer: Mapping[str, Any]) -> Resource | None:
        """Remember the resource that a request created; return it if it is new or has changed."""
        kind = next((name for name, value in answer.items() if resource_id and value == resource_id), None)
        return None if kind is None else self._remember(kind, resource_id, answer)

    def field(self, kind: str, resource_id: str, name: str) -> str:
        """Return a field of a resource, or the text for an unknown one."""
        known = self._fields.get(kind)
        if known is None or resource_id not in known:
            return self._entries[kind].unknown
        return known[resource_id][name]

    def forget(self, person: str) -> None:
        """Remove the resources of a person."""
        for key in [key for key, named in self._people.items() if named == person]:
            self._remove(*key)

    def forget_all(self) -> None:
        """Remove all resources."""
        for key in list(self._resources):
            self._remove(*key)

    def _remove(self, kind: str, resource_id: str) -> None:
        del self._fields[kind][resource_id], self._resources[kind, resource_id], self._people[kind, resource_id]

    def _remember(self, kind: str, resource_id: str, data: Mapping[str, Any]) -> Resource | None:
        person = self.erased.person_of(data) or (resource_id.casefold() if self.erased.is_kind(kind) else "")
        if self.erased.is_erased(person):
            return None
        entry = self._entries.get(kind, DEFAULT)
        fields = {name: value[:CHARACTERS_MAX] for name in entry.fields if isinstance(value := data.get(name), str)}
        if len(fields) < len(set(entry.fields)):  # not every event of a resource has its name
            return None
        label = render(entry.label, fields) if entry.label else resource_id[-SHORT_CHARACTERS:]
        resource = Resource(kind, resource_id, label, render(entry.detail, fields))
        if self._resources.get((kind, resource_id)) == resource:
            return None
        known = self._fields.setdefault(kind, OrderedDict())
        known[resource_id] = fields
        self._resources[kind, resource_id] = resource
        self._people[kind, resource_id] = person
        if len(known) > RESOURCES_MAX:
            self._remove(kind, next(iter(known)))
        return resource
