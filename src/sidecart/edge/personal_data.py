"""The declarations that serve the rights of a person: to be erased, and to get a copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
from pydantic import BaseModel

from sidecart.edge.flow_declaration import FlowDeclaration


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureDeclaration:
    """A DELETE route: it publishes the command that erases a person, and is held until its reply.

    Only the person and operators may call it. A repeated call publishes the same command again.
    """

    path: str
    """The path of the person, which a query reads; its parameter is `resource`."""
    summary: str
    app_id: str
    """The service that has the person."""
    location: str
    """The path that this service answers with the fields of `body`, also for an erased person."""
    body: type[BaseModel]
    """The data of the command, without the id of the person."""
    topic: str
    resource: str
    success: str
    """The event that becomes the 200 response."""
    answer: type[msgspec.Struct]
    answer_schema: str
    flow: FlowDeclaration
    problems: Mapping[str, tuple[int, str]] = field(default_factory=dict, init=False)
    """None: an erasure is never rejected."""

    @property
    def call(self) -> str:
        """The HTTP method and the path."""
        return f"DELETE {self.path}"

    @property
    def success_status(self) -> int:
        """The status of the response after success."""
        return 200

    @property
    def replies(self) -> tuple[str, ...]:
        """The events that answer the command."""
        return (self.success,)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDeclaration:
    """A GET route that returns all that the services keep about a person.

    Each of `app_ids` answers `location` by invocation. The first one has the person: its 404 is
    that of the route. The body has the answer of each app under its app-id. Only the person and
    operators may call it.
    """

    path: str
    app_ids: tuple[str, ...]
    location: str
    resource: str
    schema: str
