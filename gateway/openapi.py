"""The OpenAPI document: bodies are read by ourselves, so their schemas are put in by hand, from the same models."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from gateway import bodies

MODELS = (bodies.RegisterBody, bodies.DepositBody, bodies.Item, bodies.OrderBody)
PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "trace_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "trace_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the error answers of a route."""
    return {status: {"description": "problem", "content": PROBLEM_CONTENT} for status in statuses}


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
                "schema": {"type": "string", "pattern": "^[\\x21-\\x7e]{1,255}$"},
            },
            {
                **header,
                "name": "Prefer",
                "schema": {"type": "string", "examples": ["wait=10", "respond-async"]},
            },
        ],
    }


def document(app: FastAPI) -> None:
    """Give the app its document, with the schemas of the bodies among its components."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        made = generate()
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = PROBLEM
        for model in MODELS:
            schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
            schema.pop("$defs", None)
            schemas[model.__name__] = schema
        return made

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
