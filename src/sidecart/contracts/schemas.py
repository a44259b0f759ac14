"""Reads the schemas of a contracts folder with every reference replaced by its target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sidecart.launcher.documents import convert, read_json, shown
from sidecart.launcher.errors import LaunchError

Schema = dict[str, Any]
ANNOTATIONS = frozenset({"title", "description", "default", "deprecated", "examples", "$schema", "$comment", "x-since"})
"""Keywords that accept and reject nothing."""
KINDS = ("schemas", "http")
"""The folders with schemas: events, and HTTP answers."""

_TIGHTER: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("minimum", "minLength", "minItems"), max),
    **dict.fromkeys(("maximum", "maxLength", "maxItems"), min),
    "additionalProperties": lambda one, other: other if is_open(one) else one,
    "required": lambda one, other: sorted({*one, *other}),
    "properties": lambda one, other: {
        name: _merged(one.get(name, {}), other.get(name, {})) for name in {**one, **other}
    },
}
"""How two values of a keyword that both hold become one."""


def is_open(additional: object) -> bool:
    """Return whether a value of `additionalProperties` allows any further field."""
    return additional is True or additional == {}


def read_schemas(contracts: Path, kind: str) -> dict[str, Schema]:
    """Return the schemas in a folder of contracts/, by name and without references.

    Raise LaunchError, which names the file, for one that cannot be read.
    """
    if not (contracts / kind).is_dir():
        raise LaunchError(f"{shown(contracts / kind)} is missing: restore the folder")
    common = contracts / "common.json"
    definitions = convert(read_json(common), dict[str, Any], str(shown(common))).get("$defs", {})
    shared = convert(definitions, dict[str, dict[str, Any]], f"{shown(common)}: $defs")
    return {path.stem: _read(path, shared) for path in sorted((contracts / kind).glob("*.json"))}


def _read(path: Path, shared: Mapping[str, Any]) -> Schema:
    try:
        expanded = _expanded(convert(read_json(path), dict[str, Any], str(shown(path))), shared, shown(path))
    except (AttributeError, TypeError) as error:
        raise LaunchError(f"{shown(path)}: no schema of a form that the check knows: {error}") from error
    except RecursionError as error:
        raise LaunchError(f"{shown(path)}: a $ref of common.json refers to itself") from error
    found: Schema = expanded
    return found


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
        elif keyword not in ANNOTATIONS and one[keyword] != other[keyword]:
            merged["allOf"] = [*merged.get("allOf", ()), {keyword: one[keyword]}]
    return merged
