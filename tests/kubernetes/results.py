"""Keeps the measurements of the tests on a cluster as files, if REPORTS names a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

FOLDER = "REPORTS"


def keep(result: Any, name: str) -> None:
    """Write a dataclass, or a list of them, to NAME.json in the folder of REPORTS, if it is set."""
    if not os.environ.get(FOLDER):
        return
    folder = Path(os.environ[FOLDER])
    folder.mkdir(parents=True, exist_ok=True)
    content = asdict(result) if is_dataclass(result) and not isinstance(result, type) else list(map(asdict, result))
    (folder / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def kept(pattern: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the kept results of the files that match, as dictionaries."""
    for path in sorted(folder.glob(pattern)):
        content = json.loads(path.read_text(encoding="utf-8"))
        yield from content if isinstance(content, list) else [content]
