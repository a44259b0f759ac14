"""Reads contracts/ for the documents that the gateway serves.

References between the files become references within the document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "contracts"
SCHEMAS = "#/components/schemas/"
REFERENCES = ("../common.json#/$defs/", "#/$defs/")


def schemas(folder: str) -> dict[str, Any]:
    """Return the schemas of a folder and the shared schemas, by name."""
    shared: dict[str, Any] = _read("common.json")["$defs"]
    found = shared | {path.stem: _read(f"{folder}/{path.name}") for path in sorted((FOLDER / folder).glob("*.json"))}
    for each in found.values():
        each.pop("$schema", None)
    return found


def topics() -> dict[str, Any]:
    """Return the publisher, the consumers and the component of each topic."""
    found: dict[str, Any] = _read("topics.json")
    return found


def examples(topic: str) -> dict[str, Any]:
    """Return the example events of a topic, by name."""
    names = sorted(path.stem for path in (FOLDER / "examples" / topic).iterdir())
    return {name: _read(f"examples/{topic}/{name}.json") for name in names}


def _read(name: str) -> Any:
    text = (FOLDER / name).read_text("utf-8")
    for reference in REFERENCES:
        text = text.replace(f'"$ref": "{reference}', f'"$ref": "{SCHEMAS}')
    return json.loads(text)
