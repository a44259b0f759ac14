"""The OpenAPI document.

The gateway reads request bodies itself, so FastAPI does not know their schemas. This module adds
them, from the models and from contracts/.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from sidecart.edge import idempotency
from sidecart.edge.contracts import Contracts
from sidecart.edge.declarations import Application, CommandDeclaration

PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}}

SCHEME = "token"
TOKENS = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "an access token of the configured OpenID Connect issuer",
}

EXCLUDE = {
    "in": "query",
    "name": "exclude",
    "required": False,
    "description": "`broker`: ignore problems of the broker, which all gateways share; for load balancers",
    "schema": {"type": "string", "examples": ["broker"]},
}


EXPORT = "x-export"
"""Marks the route that returns a document of all data of a person, not one resource."""
PREFER = {
    "in": "header",
    "required": False,
    "name": "Prefer",
    "schema": {"type": "string", "examples": ["wait=10", "respond-async", "respond-async, wait=10"]},
}


def ids(names: Sequence[str]) -> list[dict[str, Any]]:
    """Describe the ids in the path of a route."""
    schema = {"type": "string", "format": "uuid"}
    return [{"in": "path", "name": name, "required": True, "schema": schema} for name in names]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the error responses of a route."""
    return {status: {"description": "problem", "content": PROBLEM_CONTENT} for status in statuses}


def response(schema_name: str, description: str) -> dict[str, Any]:
    """Describe a response whose schema is the file of this name in contracts/http/."""
    schema = {"$ref": f"#/components/schemas/{schema_name}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def security(scope: str = "") -> dict[str, Any]:
    """Describe a route that needs a token, with a scope if it is not empty."""
    return {"security": [{SCHEME: [scope] if scope else []}]}


def request(command: CommandDeclaration) -> dict[str, Any]:
    """Describe the request of a POST route: its body, Idempotency-Key and Prefer.

    `x-identity` maps the fields of the body that the token decides to a property of the caller.
    """
    schema = {"$ref": f"#/components/schemas/{command.body.__name__}"}
    header: dict[str, Any] = {"in": "header", "required": False}
    return {
        **({"x-identity": dict(command.identity)} if command.identity else {}),
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [
            {
                **header,
                "name": "Idempotency-Key",
                "schema": {"type": "string", "pattern": idempotency.PATTERN},
            },
            PREFER,
        ],
    }


def document(app: FastAPI, application: Application, *, is_open: bool) -> None:
    """Extend the OpenAPI document with the schemas of all bodies, and with the tokens."""
    generate = app.openapi
    template = "#/components/schemas/{model}"

    def openapi() -> dict[str, Any]:
        made = generate()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        http = Contracts(application.folder / "contracts").schemas("http")
        schemas.update({name: each for name, each in http.items() if name != "envelope"})
        for command in application.commands:
            schema = command.body.model_json_schema(ref_template=template)
            schemas.update(schema.pop("$defs", {}))
            if not is_open and (needed := [each for each in schema["required"] if each not in command.identity]):
                schema["required"] = needed
            schemas[command.body.__name__] = schema
        if is_open:
            _remove_tokens(made)
        else:
            made["components"]["securitySchemes"] = {SCHEME: TOKENS}
        return made

    # FastAPI documents this way to extend the document.
    app.openapi = openapi  # type: ignore[method-assign]  # see the comment above


def _remove_tokens(made: dict[str, Any]) -> None:
    for methods in made["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)
            operation.pop("x-identity", None)
