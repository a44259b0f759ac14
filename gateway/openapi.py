"""The OpenAPI document: we read bodies ourselves, so their schemas are put in here, from the models and contracts/."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from gateway import bodies, contracts, idempotency

MODELS = (bodies.RegisterBody, bodies.DepositBody, bodies.Item, bodies.OrderBody)
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}}

EXCLUDE = {
    "in": "query",
    "name": "exclude",
    "required": False,
    "description": "`broker`: leave out what is wrong with the broker that all gateways share, as a load balancer does",
    "schema": {"type": "string", "examples": ["broker"]},
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the error answers of a route."""
    return {status: {"description": "problem", "content": PROBLEM_CONTENT} for status in statuses}


def answers(answer: str, description: str) -> dict[str, Any]:
    """Describe an answer whose body is described by the file of this name in contracts/http/."""
    schema = {"$ref": f"#/components/schemas/{answer}"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """Describe the request of a POST route: its body, Idempotency-Key and Prefer."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    header: dict[str, Any] = {"in": "header", "required": False}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "parameters": [
            {
                **header,
                "name": "Idempotency-Key",
                "schema": {"type": "string", "pattern": idempotency.PATTERN},
            },
            {
                **header,
                "name": "Prefer",
                "schema": {"type": "string", "examples": ["wait=10", "respond-async", "respond-async, wait=10"]},
            },
        ],
    }


def document(app: FastAPI) -> None:
    """Give the app its document, with the schemas of the bodies among its components."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        made = generate()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(_answers())
        for model in MODELS:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            schemas[model.__name__] = schema
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _answers() -> dict[str, Any]:
    """The schemas of contracts/ that describe answers; events are described elsewhere (asyncapi.py)."""
    return {name: each for name, each in contracts.schemas("http").items() if name != "envelope"}
