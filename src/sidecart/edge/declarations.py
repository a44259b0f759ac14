"""The declarations of an application's HTTP API: commands, queries, and the flows they start.

A new held call is one `CommandDeclaration`; a new read is one `QueryDeclaration`. An
`ErasureDeclaration` and an `ExportDeclaration` serve the rights of a person. The routes, the
OpenAPI and AsyncAPI documents, the subscriptions, readiness and the metrics follow from them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import BaseModel

from sidecart.edge.flow_declaration import FlowDeclaration as FlowDeclaration  # gateways import all from here
from sidecart.edge.personal_data import ErasureDeclaration, ExportDeclaration

PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandDeclaration:
    """A POST route: it publishes one command and is held until its reply arrives."""

    path: str
    summary: str
    body: type[BaseModel]
    topic: str
    """The command's event. Its data is the body, with the id of the resource."""
    resource: str
    """The name of the id of the resource that the command creates."""
    owner: str
    """The field of the body that names the owner of the resource. With AUTH=off the owner has the
    Idempotency-Keys, too; upper and lower case are equal.
    """
    identity: Mapping[str, Literal["id", "email"]] = field(default_factory=dict)
    """Fields of the body that the caller's token decides, with its id or verified address.

    A body may leave them out, and may not contradict the token.
    """
    is_caller: bool = False
    """Whether the resource is the caller itself, so its id is the caller's."""
    scope: str = ""
    """The scope that the caller's token must have; empty for none."""
    is_for_any_owner: bool = False
    """Whether every caller may name any owner, so neither `identity` nor a scope is needed."""
    location: str
    """The path of the resource, with names of ids in braces; the last one is `resource`."""
    requires: str | None = None
    """A field of the body: the id of a resource that must exist, created by another command."""
    success: str
    """The event that becomes the 201 response."""
    answer: type[msgspec.Struct]
    """The body of the 201 response, decoded from the data of `success`."""
    answer_schema: str
    """The schema of that body in contracts/http/."""
    rejection: str
    """The event that becomes a problem response, by the `reason` in its data."""
    problems: Mapping[str, tuple[int, str]]
    """Reason -> status and detail."""
    flow: FlowDeclaration | None = None

    @property
    def call(self) -> str:
        """The HTTP method and the path."""
        return f"POST {self.path}"

    @property
    def success_status(self) -> int:
        """The status of the response after success."""
        return 201

    @property
    def replies(self) -> tuple[str, ...]:
        """The events that answer the command."""
        return self.success, self.rejection


AnyCommand = CommandDeclaration | ErasureDeclaration


@dataclass(frozen=True, slots=True)
class QueryDeclaration:
    """A GET route, which a service answers at the same path.

    `schema` is that of the 200 response, in contracts/http/. `owner` is the id of the caller who
    may read it: a parameter of the path, or else a field of the answer. Callers with the role
    operator, or with the `scope`, may read it too. A public resource needs no token, and has no
    owner. Raise ValueError for a query that is neither.
    """

    path: str
    app_id: str
    schema: str
    owner: str = ""
    scope: str = ""
    is_public: bool = False
    """Whether it needs no token."""

    def __post_init__(self) -> None:
        if self.is_public == bool(self.owner):  # a forgotten owner must not publish a resource
            raise ValueError(f"{self.path}: a query has either an owner or is_public=True")

    @property
    def parameters(self) -> list[str]:
        """The names of the ids in the path."""
        return PARAMETER.findall(self.path)


@dataclass(frozen=True, slots=True)
class Application:
    """The declarations of one application; raise ValueError if they contradict each other."""

    title: str
    description: str
    """The subject of its events, for the AsyncAPI document."""
    folder: Path
    """The folder that has contracts/ and components/."""
    commands: tuple[CommandDeclaration, ...]
    queries: tuple[QueryDeclaration, ...]
    publishers: Mapping[str, str] | None = None
    """The publisher of each reply; None: contracts/topics.json names it."""
    erasures: tuple[ErasureDeclaration, ...] = ()
    exports: tuple[ExportDeclaration, ...] = ()
    command_of_reply: Mapping[str, AnyCommand] = field(init=False)
    required: Mapping[str, CommandDeclaration] = field(init=False)
    """Maps the name of an id that a command requires to the command that creates its resource."""
    query_of: Mapping[str, QueryDeclaration] = field(init=False)
    """Maps the location of each command to the query that reads it."""

    def __post_init__(self) -> None:
        replies = {topic: command for command in self.all_commands for topic in command.replies}
        creators = {command.resource: command for command in self.commands}
        queries = {query.path: query for query in self.queries}
        object.__setattr__(self, "command_of_reply", replies)
        object.__setattr__(self, "query_of", queries)
        for erasure in self.erasures:
            if erasure.path not in queries:
                raise ValueError(f"DELETE {erasure.path}: no query reads this path")
        for command in self.commands:
            if missing := {command.owner, *command.identity} - command.body.model_fields.keys():
                raise ValueError(f"{command.path}: the body has no field {', '.join(sorted(missing))}")
            if command.is_for_any_owner == bool(command.scope or command.owner in command.identity):
                raise ValueError(
                    f"{command.path}: a command has its owner in identity, or a scope, or is_for_any_owner=True"
                )
            if PARAMETER.findall(command.location)[-1:] != [command.resource]:
                raise ValueError(f"{command.path}: the last id of {command.location} must be {command.resource}")
            if command.location not in queries:
                raise ValueError(f"{command.path}: no query reads {command.location}")
            if command.requires is not None and command.requires not in creators:
                raise ValueError(f"{command.path} requires {command.requires}, which no command creates")
        needed = {command.requires for command in self.commands if command.requires is not None}
        object.__setattr__(self, "required", {name: creators[name] for name in needed})

    @property
    def all_commands(self) -> tuple[AnyCommand, ...]:
        """The commands, and those of the erasures."""
        return (*self.commands, *self.erasures)

    @property
    def services(self) -> list[str]:
        """The app-ids that the gateway calls; those of the queries come first."""
        ends = (app_id for each in self.all_commands if each.flow for app_id in (each.flow.owner, *each.flow.ends_at))
        parts = (app_id for each in self.exports for app_id in each.app_ids)
        return list(dict.fromkeys([*(query.app_id for query in self.queries), *ends, *parts]))

    @property
    def rejections(self) -> frozenset[str]:
        """The topics of replies that reject a command."""
        return frozenset(command.rejection for command in self.commands)

    @property
    def command_paths(self) -> frozenset[str]:
        """The paths of the POST routes."""
        return frozenset(command.path for command in self.commands)
