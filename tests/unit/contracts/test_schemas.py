"""Schemas are read with their references replaced."""

import json
from pathlib import Path

import pytest

from sidecart.contracts.schemas import read_schemas
from sidecart.launcher.errors import LaunchError

SHARED = {
    "text": {"type": "string", "minLength": 1, "maxLength": 9},
    "short": {"$ref": "#/$defs/text", "maxLength": 3},
    "envelope": {
        "required": ["id", "data"],
        "properties": {"id": {"$ref": "#/$defs/text"}, "data": {"type": "object"}},
    },
}


def read(folder: Path, schema: object) -> object:
    """Write a schema with the shared definitions, and read it."""
    (folder / "schemas").mkdir()
    (folder / "common.json").write_text(json.dumps({"$defs": SHARED}), encoding="utf-8")
    (folder / "schemas" / "Sold.json").write_text(json.dumps(schema), encoding="utf-8")
    return read_schemas(folder, "schemas")["Sold"]


def test_a_reference_and_its_siblings_become_one_schema(tmp_path: Path) -> None:
    """Of two bounds the tighter one holds."""
    found = read(tmp_path, {"items": {"$ref": "../common.json#/$defs/short", "maxLength": 5, "description": "x"}})

    assert {"items": {"type": "string", "minLength": 1, "maxLength": 3, "description": "x"}} == found


def test_fields_of_a_reference_are_merged(tmp_path: Path) -> None:
    """A schema narrows the envelope's fields and requires more of them."""
    found = read(
        tmp_path,
        {
            "$ref": "../common.json#/$defs/envelope",
            "required": ["type"],
            "properties": {"type": {"const": "Sold"}, "data": {"required": ["id"]}},
        },
    )

    assert {
        "required": ["data", "id", "type"],
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": 9},
            "data": {"type": "object", "required": ["id"]},
            "type": {"const": "Sold"},
        },
    } == found


def test_an_unknown_reference_is_an_error(tmp_path: Path) -> None:
    """The error names the file and the reference."""
    with pytest.raises(LaunchError, match=r"Sold\.json: \$ref \.\./common\.json#/\$defs/long is no definition"):
        read(tmp_path, {"$ref": "../common.json#/$defs/long"})
