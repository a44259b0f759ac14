"""The files of contracts/, for the documents that the gateway serves: references among them lead into the document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "contracts"
HERE = "#/components/schemas/"
REFERENCES = ("../common.json#/$defs/", "#/$defs/")


def schemas(folder: str) -> dict[str, Any]:
    """The schemas of a folder, and those that all share, by name."""
    shared: dict[str, Any] = _read("common.json")["$defs"]
    found = shared | {path.stem: _read(f"{folder}/{path.name}") for path in sorted((FOLDER / folder).glob("*.json"))}
    for each in found.values():
        each.pop("$schema", None)
    return found


def topics() -> dict[str, Any]:
    """The topic list: by topic its publisher, its consumers, and the component that they read it by."""
    found: dict[str, Any] = _read("topics.json")
    return found


def examples(topic: str) -> dict[str, Any]:
    """The events that are examples of one topic, by name."""
    names = sorted(path.stem for path in (FOLDER / "examples" / topic).iterdir())
    return {name: _read(f"examples/{topic}/{name}.json") for name in names}


def _read(name: str) -> Any:
    text = (FOLDER / name).read_text("utf-8")
    for far in REFERENCES:
        text = text.replace(f'"$ref": "{far}', f'"$ref": "{HERE}')
    return json.loads(text)
