"""The contracts of released versions, in contracts/released/<version>/, and the changes since.

A release holds the topic list, the schemas, the events of the scenario, and the records that the
services wrote while the scenario ran, with their outboxes. Tests replay all of it on later code.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecart.contracts.compatibility import Change, schema_changes, topic_changes
from sidecart.contracts.examples import differences
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.contracts.scenario import Run
from sidecart.contracts.schemas import KINDS, Schema, read_schemas
from sidecart.launcher.documents import convert, read_json
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import CONTRACTS

RELEASED = f"{CONTRACTS}/released"
RETIRED = f"{CONTRACTS}/retired.json"
"""Maps each topic that was removed on purpose to the reason; the file is optional."""
VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
SINCE = "x-since"
"""The keyword of an optional field: the version of the project that introduced it."""


def versions(folder: Path) -> list[str]:
    """Return the released versions of the project in `folder`, from the oldest to the newest."""
    found = [path.name for path in (folder / RELEASED).glob("*/") if VERSION.fullmatch(path.name)]
    return sorted(found, key=_number)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in version.split("."))


def release(folder: Path, version: str, made: Run) -> Path:
    """Write the contracts of a version; return their folder.

    Raise LaunchError if the version exists, or if the examples differ from the scenario.
    """
    if not VERSION.fullmatch(version):
        raise LaunchError(f"{version} is not a version of the form 1.2.3")
    target = folder / RELEASED / version
    if target.exists():
        raise LaunchError(f"{RELEASED}/{version} exists: a release never changes; choose the next version")
    if stale := list(differences(folder, made)):
        raise LaunchError(f"run `sidecart examples` first: {stale[0]}")
    contracts = folder / CONTRACTS
    for kind in (*KINDS, "examples"):
        shutil.copytree(contracts / kind, target / kind)
    for name in ("common.json", "topics.json"):
        shutil.copy(contracts / name, target / name)
    (target / "records").mkdir()
    for app_id, sidecar in made.sidecars.items():
        (target / "records" / f"{app_id}.json").write_text(_records(sidecar), encoding="utf-8")
    return target


def _records(sidecar: MemorySidecar) -> str:
    """Format every write of a record, one line each."""
    lines = [
        json.dumps({"key": key, "value": json.loads(value)}, ensure_ascii=False, separators=(",", ":"))
        for key, value in sidecar.saves
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def read_records(folder: Path, version: str, app_id: str) -> list[tuple[str, bytes]]:
    """Return the writes of a service in the scenario of a released version, in sequence."""
    file = folder / RELEASED / version / "records" / f"{app_id}.json"
    return [
        (each["key"], json.dumps(each["value"], ensure_ascii=False, separators=(",", ":")).encode())
        for each in read_json(file)
    ]


def read_events(folder: Path, version: str) -> list[dict[str, Any]]:
    """Return the events of a released version, ordered by time."""
    files = sorted((folder / RELEASED / version / "examples").glob("*/*.json"))
    return sorted((read_json(file) for file in files), key=lambda event: str(event["time"]))


def changes(folder: Path) -> list[Change]:
    """Return the changes of the contracts since the newest release; none without a release."""
    found = versions(folder)
    if not found:
        return []
    old, new = folder / RELEASED / found[-1], folder / CONTRACTS
    retired_file = folder / RETIRED
    retired = convert(read_json(retired_file), dict[str, str], RETIRED) if retired_file.exists() else {}
    listed = list(
        topic_changes(
            read_json(old / "topics.json"), read_json(new / "topics.json"), retired, f"{CONTRACTS}/topics.json"
        )
    )
    for kind in KINDS:
        before, after = read_schemas(old, kind), read_schemas(new, kind)
        for name in before:
            place = f"{CONTRACTS}/{kind}/{name}.json"
            if name in after:
                listed += schema_changes(before[name], after[name], place)
            elif kind == "http":
                listed.append(Change(place, "the schema was removed", "clients expect this answer"))
    return listed


def undated(folder: Path) -> Iterator[str]:
    """Yield one line for each optional field of an event whose schema does not say since when."""
    for name, schema in read_schemas(folder / CONTRACTS, "schemas").items():
        data = schema.get("properties", {}).get("data", {})
        for place in _undated(data, f"{CONTRACTS}/schemas/{name}.json: data"):
            yield f'{place} is optional and lacks "{SINCE}": "<the version that adds it>"'


def _undated(schema: Schema, place: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        since = str(field.get(SINCE, ""))
        if name not in schema.get("required", ()) and not VERSION.fullmatch(since):
            yield f"{place}.{name}"
        yield from _undated(field, f"{place}.{name}")
    if "items" in schema:
        yield from _undated(schema["items"], f"{place}[]")
