"""Reads contracts/ for the documents that the gateway serves.

References between the files become references within the document.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SCHEMAS = "#/components/schemas/"
REFERENCES = ("../common.json#/$defs/", "#/$defs/")


class Contracts:
    """The files of one application's contracts/."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def schemas(self, kind: str) -> dict[str, Any]:
        """Return the schemas of a folder (`http` or `schemas`) and the shared schemas, by name."""
        shared: dict[str, Any] = self._read("common.json")["$defs"]
        files = sorted((self._folder / kind).glob("*.json"))
        found = shared | {path.stem: self._read(f"{kind}/{path.name}") for path in files}
        for each in found.values():
            each.pop("$schema", None)
        return found

    def topics(self) -> dict[str, Any]:
        """Return the publisher, the consumers and the component of each topic."""
        found: dict[str, Any] = self._read("topics.json")
        return found

    def examples(self, topic: str) -> dict[str, Any]:
        """Return the example events of a topic, by name."""
        names = sorted(path.stem for path in (self._folder / "examples" / topic).iterdir())
        return {name: self._read(f"examples/{topic}/{name}.json") for name in names}

    def _read(self, name: str) -> Any:
        text = (self._folder / name).read_text("utf-8")
        for reference in REFERENCES:
            text = text.replace(f'"$ref": "{reference}', f'"$ref": "{SCHEMAS}')
        return json.loads(text)
