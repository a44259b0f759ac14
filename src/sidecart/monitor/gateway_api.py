"""The calls of the gateway, from its OpenAPI document: commands (POST) and queries (GET)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PARAMETER = re.compile(r"\{(\w+)\}")
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
SEGMENT = r"[\w~-]+(?:\.[\w~-]+)*"
"""A path parameter that is no UUID; it cannot lead to another path."""
OPENAPI, ASYNCAPI = "/openapi.json", "/asyncapi.json"
DOCUMENTS = (OPENAPI, ASYNCAPI)
JSON = "application/json"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented call."""

    path: str
    summary: str
    parameters: tuple[str, ...]
    pattern: re.Pattern[str]
    body: Schema | None = None
    """The schema of a command's body."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """The fields of the body that the caller's token decides (src/sidecart/edge/openapi.py)."""
    scopes: tuple[str, ...] = ()
    """The scopes that the token must have."""


@dataclass(frozen=True, slots=True)
class GatewayApi:
    """The commands have a JSON body; the queries have a parameter in their path."""

    commands: tuple[Operation, ...] = ()
    queries: tuple[Operation, ...] = ()
    schemas: Mapping[str, Schema] | None = None

    def methods(self, path: str) -> set[str]:
        """Return the methods that the page may use at a path."""
        if _any_matches(self.commands, path):
            # POST /things/create also fits GET /things/{name}: the literal path wins.
            return {"POST"}
        return {"GET"} if path in DOCUMENTS or _any_matches(self.queries, path) else set()

    def resolved(self, schema: Schema) -> Schema:
        """Return a schema with its references resolved; keys beside a reference override it."""
        found: dict[str, Any] = {}
        references = [schema["$ref"]] if "$ref" in schema else []
        for part in [*schema.get("allOf", []), *({"$ref": each} for each in references)]:
            name = str(part.get("$ref", "")).rpartition("/")[2]
            found |= self.resolved((self.schemas or {}).get(name, {})) if name else part
        options = [each for each in schema.get("anyOf", []) if each.get("type") != "null"]
        if len(options) == 1:
            found |= self.resolved(options[0])
        return found | {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf")}


def parse(document: Mapping[str, Any]) -> GatewayApi:
    """Read the calls from an OpenAPI document; raise ValueError if it is none."""
    try:
        schemas = document.get("components", {}).get("schemas", {})
        api = GatewayApi(schemas=schemas)
        commands, queries = [], []
        for path, methods in document["paths"].items():
            post, get = methods.get("post"), methods.get("get")
            if post is not None and (content := post.get("requestBody", {}).get("content", {}).get(JSON)):
                commands.append(_operation(path, post, api.resolved(content["schema"])))
            if get is not None and PARAMETER.search(path) and "x-export" not in get:  # a file, not a resource
                queries.append(_operation(path, get))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"the gateway's OpenAPI document is malformed: {error!r}") from error
    return GatewayApi(tuple(commands), tuple(queries), schemas)


def _operation(path: str, described: Mapping[str, Any], body: Schema | None = None) -> Operation:
    formats = {
        each["name"]: each.get("schema", {}).get("format", "")
        for each in described.get("parameters", [])
        if each.get("in") == "path"
    }
    pattern = ""
    for number, part in enumerate(PARAMETER.split(path)):  # the odd parts are the parameters
        pattern += (UUID if formats.get(part) == "uuid" else SEGMENT) if number % 2 else re.escape(part)
    parameters = tuple(PARAMETER.findall(path))
    scopes = (scope for needed in described.get("security", []) for each in needed.values() for scope in each)
    return Operation(
        path,
        str(described.get("summary", "")),
        parameters,
        re.compile(pattern, re.ASCII),
        body,
        described.get("x-identity", {}),
        tuple(scopes),
    )


def _any_matches(operations: tuple[Operation, ...], path: str) -> bool:
    return any(each.pattern.fullmatch(path) for each in operations)
