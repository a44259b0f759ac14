"""Reads the schemas of a contracts folder with every reference replaced by its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sidecart.launcher.documents import read_json, shown
from sidecart.launcher.errors import LaunchError

Schema = dict[str, Any]
ANNOTATIONS = frozenset({"title", "description", "examples", "$schema", "$comment", "x-since"})
"""Keywords that accept and reject nothing."""
KINDS = ("schemas", "http")
"""The folders with schemas: events, and HTTP answers."""

_TIGHTER: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "maxLength", "maxItems"), min),
    "required": lambda one, other: sorted({*one, *other}),
    "properties": lambda one, other: {
        name: _merged(one.get(name, {}), other.get(name, {})) for name in {**one, **other}
    },
}
"""How two values of a keyword that both hold become one."""


def read_schemas(contracts: Path, kind: str) -> dict[str, Schema]:
    """Return the schemas in a folder of contracts/, by name and without references."""
    shared = read_json(contracts / "common.json")["$defs"]
    return {
        path.stem: _expanded(read_json(path), shared, shown(path)) for path in sorted((contracts / kind).glob("*.json"))
    }


def _expanded(schema: Any, shared: Mapping[str, Any], file: Path) -> Any:
    """Return a schema in which `$ref` and its siblings are one object."""
    if isinstance(schema, list):
        return [_expanded(each, shared, file) for each in schema]
    if not isinstance(schema, dict):
        return schema
    own = {name: _expanded(value, shared, file) for name, value in schema.items() if name != "$ref"}
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return own
    name = reference.rpartition("/")[2]
    if reference not in (f"../common.json#/$defs/{name}", f"#/$defs/{name}") or name not in shared:
        raise LaunchError(f"{file}: $ref {reference} is no definition of common.json")
    return _merged(_expanded(shared[name], shared, file), own)


def _merged(one: Schema, other: Schema) -> Schema:
    """Return one schema that accepts what both accept; `other` is the more specific one."""
    merged = {**one, **other}
    for keyword in one.keys() & other.keys():
        if keyword in _TIGHTER:
            merged[keyword] = _TIGHTER[keyword](one[keyword], other[keyword])
    return merged
