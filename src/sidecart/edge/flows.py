"""The flows that commands start: detects whether a flow has ended and rebuilds its command.

A service at which flows end answers `GET /unfinished/<kind>/<ids>` by invocation (WIRE.md, section
12).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec

from sidecart.edge.command import Command, build_command
from sidecart.edge.declarations import AnyCommand, Application, FlowDeclaration


@dataclass(frozen=True, slots=True)
class FlowKind:
    """One kind of flow, and the command that starts it.

    If the command is repeated, each service repeats its outputs.
    """

    declared: FlowDeclaration
    started_by: AnyCommand

    @property
    def name(self) -> str:
        """The name in paths and metrics."""
        return self.declared.name

    @property
    def owner(self) -> str:
        """The app-id of the service that answers with the created resource."""
        return self.declared.owner

    @property
    def ends_at(self) -> tuple[str, ...]:
        """The app-ids of the services that know whether the flow has ended."""
        return self.declared.ends_at

    def is_pending(self, body: bytes) -> bool:
        """Return True if the owner's answer shows that the flow has not ended."""
        return self.declared.is_pending(body)

    def location(self, resource: str) -> str:
        """Return the path of the resource."""
        return self.started_by.location.format_map({self.started_by.resource: resource})

    def command(self, resource: str, answer: bytes, at: datetime) -> Command:
        """Rebuild the command, with the same id and the time `at`, from the owner's answer.

        Raise ValueError if the answer lacks a required field. An optional field that it lacks was
        not in the command either.
        """
        known = msgspec.json.decode(answer, type=dict)
        fields = self.started_by.body.model_fields
        missing = [name for name, field in fields.items() if field.is_required() and name not in known]
        if missing:
            raise ValueError(f"the answer of {self.owner} lacks {', '.join(missing)}")
        ids = {self.started_by.resource: resource}
        body = {name: known[name] for name in fields if name in known}
        return build_command(self.started_by.topic, resource, self.location(resource), body, ids, at=at)


class Flows:
    """The flows of an application, by their name, the command's topic and the resource's path."""

    def __init__(self, application: Application) -> None:
        kinds = [FlowKind(command.flow, command) for command in application.all_commands if command.flow is not None]
        self.by_name: Mapping[str, FlowKind] = {kind.name: kind for kind in kinds}
        self.by_topic: Mapping[str, FlowKind] = {kind.started_by.topic: kind for kind in kinds}
        """A command that is not listed here starts no flow: it ends with its reply."""

    def of_path(self, path: str) -> FlowKind | None:
        """Return the flow that created the resource at this path, if one did."""
        parent, _, resource = path.rpartition("/")
        found = [kind for kind in self.by_name.values() if kind.location(resource) == f"{parent}/{resource}"]
        return found[0] if found else None
