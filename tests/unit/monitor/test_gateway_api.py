"""The calls of the gateway come from its OpenAPI document."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.app import SHOP
from sidecart.chassis.server.inbound import InboundApp
from sidecart.edge.app import public_app
from sidecart.monitor.gateway_api import parse

USER = "019bc0fd-89c0-78c9-9e0d-a0c3d985694a"


@asynccontextmanager
async def nothing(_app: InboundApp) -> AsyncIterator[None]:
    """Start nothing, because only the document is read."""
    yield


def shop_document() -> dict[str, Any]:
    """The OpenAPI document of the shop's gateway."""
    return public_app(SHOP, nothing, is_open=False).openapi()


def test_commands_and_queries_are_those_that_the_gateway_declares() -> None:
    """The routes for load balancers are neither."""
    api = parse(shop_document())

    assert [command.path for command in SHOP.commands] == [each.path for each in api.commands]
    queries = [query for query in SHOP.queries if query.parameters]
    assert [query.path for query in queries] == [each.path for each in api.queries]
    assert [list(query.parameters) for query in queries] == [list(each.parameters) for each in api.queries]
    assert all(each.summary and each.body for each in api.commands)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/user/register", {"POST"}),
        (f"/user/{USER}", {"GET"}),
        (f"/account/{USER}/deposit/{USER}", {"GET"}),
        ("/openapi.json", {"GET"}),
        ("/asyncapi.json", {"GET"}),
        ("/user/ada", set()),
        (f"/user/{USER}/", set()),
        ("/user/../readyz", set()),
        ("/readyz", set()),
        ("/healthz", set()),
        ("/reconcile", set()),
        ("/events/OrderPaid", set()),
    ],
)
def test_a_path_has_the_documented_methods(path: str, methods: set[str]) -> None:
    """A parameter of a path is a UUID if the document says so."""
    assert methods == parse(shop_document()).methods(path)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/books/moby-dick.1", {"GET"}),
        ("/books/create", {"POST"}),
        ("/books/..", set()),
        ("/books/a?b", set()),
        ("/books/a#b", set()),
        ("/books/a/b", set()),
        ("/books/", set()),
    ],
)
def test_another_parameter_cannot_lead_to_another_path(path: str, methods: set[str]) -> None:
    """The proxy receives the decoded path; a command wins over a query of the same form."""
    body = {"content": {"application/json": {"schema": {"type": "object"}}}}
    paths = {"/books/{book}": {"get": {}}, "/books/create": {"post": {"requestBody": body}}}

    assert methods == parse({"paths": paths}).methods(path)


def test_references_are_resolved() -> None:
    """A key beside a reference overrides it; an optional value has the schema of its type."""
    schemas = {"size": {"type": "integer", "minimum": 0, "description": "any"}, "big": {"$ref": "#/x/size"}}
    api = parse({"paths": {}, "components": {"schemas": schemas}})

    assert {"type": "integer", "minimum": 5, "description": "any"} == api.resolved({"$ref": "#/x/big", "minimum": 5})
    assert {"type": "integer", "minimum": 0, "description": "any"} == api.resolved({"allOf": [{"$ref": "#/x/size"}]})
    assert {"type": "string", "default": None} == api.resolved(
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    )


@pytest.mark.parametrize("document", [{}, {"paths": []}, {"paths": {"/x": []}}, [], {"paths": {"/x/{y}": {"get": 1}}}])
def test_another_document_is_refused(document: Any) -> None:
    """The page reports that it has no forms."""
    with pytest.raises(ValueError, match="malformed"):
        parse(document)
