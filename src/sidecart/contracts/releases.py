"""The contracts of released versions, in contracts/released/<version>/, and the changes since.

A release holds the topic list, the schemas, the events of the scenario, and the records that the
services wrote while the scenario ran, with their outboxes. Tests replay all of it on later code.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sidecart.contracts.compatibility import Change, schema_changes, topic_changes
from sidecart.contracts.examples import differences
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.contracts.scenario import Run
from sidecart.contracts.schemas import KINDS, Schema, read_schemas
from sidecart.launcher.documents import convert, read_json, shown
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import CONTRACTS, Topic

RELEASED = f"{CONTRACTS}/released"
RETIRED = f"{CONTRACTS}/retired.json"
"""Maps each topic that was removed on purpose to the reason; the file is optional."""
VERSION = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")
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

    Raise LaunchError, and write nothing, if the version is not newer than the newest release, if a
    change since then is breaking, or if the examples differ from the scenario.
    """
    if not VERSION.fullmatch(version):
        raise LaunchError(f"{version} is not a version of the form 1.2.3")
    target = folder / RELEASED / version
    if target.exists():
        raise LaunchError(f"{RELEASED}/{version} exists: a release never changes; choose the next version")
    if (known := versions(folder)) and _number(version) < _number(known[-1]):
        raise LaunchError(f"{version} is older than the newest release, {known[-1]}: choose a later version")
    for kind in KINDS:
        read_schemas(folder / CONTRACTS, kind)  # names a missing folder, also for the first release
    if problems := [*(str(each) for each in changes(folder) if each.is_breaking), *undated(folder)]:
        raise LaunchError(f"run `sidecart contracts check` first: {problems[0]}")
    if stale := list(differences(folder, made)):
        raise LaunchError(f"run `sidecart examples` first: {stale[0]}")
    target.parent.mkdir(exist_ok=True)
    # a release appears as a whole, or not at all
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as name:
        _copy(folder / CONTRACTS, Path(name) / version, made)
        (Path(name) / version).rename(target)
    return target


def _copy(contracts: Path, target: Path, made: Run) -> None:
    for kind in (*KINDS, "examples"):
        shutil.copytree(contracts / kind, target / kind)
    for name in ("common.json", "topics.json"):
        shutil.copy(contracts / name, target / name)
    (target / "records").mkdir()
    for app_id, sidecar in made.sidecars.items():
        (target / "records" / f"{app_id}.json").write_text(_records(sidecar), encoding="utf-8")


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
    """Return the changes of the contracts since the newest release; none without a release.

    They include what breaks an older release only, such as another use of a name that the newest
    one does not have.
    """
    found = versions(folder)
    if not found:
        return []
    retired = _retired(folder)
    listed = _since(folder, found[-1], retired)
    seen = {(each.place, each.what) for each in listed}
    for version in found[:-1]:
        for each in _since(folder, version, retired):
            if each.is_breaking and (each.place, each.what) not in seen:
                seen.add((each.place, each.what))
                listed.append(replace(each, what=f"{each.what} since {version}"))
    return listed


def _retired(folder: Path) -> dict[str, str]:
    """Return the reasons of the topics that were removed on purpose."""
    file = folder / RETIRED
    if not file.exists():
        return {}
    retired = convert(read_json(file), dict[str, str], RETIRED)
    topics = _topics(folder / CONTRACTS)
    for name, reason in retired.items():
        if name in topics:
            raise LaunchError(f"{RETIRED}: {name} is in {CONTRACTS}/topics.json: remove it from one of them")
        if not reason.strip():
            raise LaunchError(f"{RETIRED}: {name} has no reason")
    return retired


def _topics(contracts: Path) -> dict[str, Any]:
    file = contracts / "topics.json"
    return {
        name: {"publisher": each.publisher, "consumers": each.consumers, "component": each.component}
        for name, each in convert(read_json(file), dict[str, Topic], str(shown(file))).items()
    }


def _since(folder: Path, version: str, retired: Mapping[str, str]) -> list[Change]:
    old, new = folder / RELEASED / version, folder / CONTRACTS
    topics = _topics(new)
    listed = list(topic_changes(_topics(old), topics, retired, f"{CONTRACTS}/topics.json"))
    for kind in KINDS:
        before, after = read_schemas(old, kind), read_schemas(new, kind)
        for name in before:
            place = f"{CONTRACTS}/{kind}/{name}.json"
            if name in after:
                listed += _of_schema(kind, before[name], after[name], place)
            elif kind == "http":
                listed.append(Change(place, "the schema was removed", "clients expect this answer"))
            elif name in topics:
                listed.append(Change(place, "the schema was removed", "its topic is still published"))
    return listed


def _of_schema(kind: str, old: Schema, new: Schema, place: str) -> list[Change]:
    try:
        if kind == "http":
            old, new = _opened(old), _opened(new)
        return list(schema_changes(old, new, place))
    except (AttributeError, KeyError, TypeError) as error:
        raise LaunchError(f"{place}: no schema of a form that the check knows: {error!r}") from error


def _opened(schema: Any) -> Any:
    """Return the schema of an answer without the ban of further fields, which binds no client."""
    if isinstance(schema, list):
        return [_opened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _opened(value) for key, value in schema.items() if (key, value) != ("additionalProperties", False)}


def undated(folder: Path) -> Iterator[str]:
    """Yield one line for each optional field of an event whose schema does not say since when.

    A field that the newest release lacks is newer than that release.
    """
    known = versions(folder)
    released = read_schemas(folder / RELEASED / known[-1], "schemas") if known else {}
    for name, schema in read_schemas(folder / CONTRACTS, "schemas").items():
        place = f"{CONTRACTS}/schemas/{name}.json: data"
        old = dict(_optional(_data(released.get(name, {})), place))
        for field, since in _optional(_data(schema), place):
            if not VERSION.fullmatch(since):
                yield f'{field} is optional and lacks "{SINCE}": "<the version that adds it>"'
            elif name in released and field not in old and _number(since) <= _number(known[-1]):
                yield f'{field} is new, but its "{SINCE}" is {since}: the newest release is {known[-1]}'


def _data(schema: Schema) -> Schema:
    found: Schema = schema.get("properties", {}).get("data", {})
    return found


def _optional(schema: Schema, place: str) -> Iterator[tuple[str, str]]:
    """Yield the place of each optional field, with its `x-since`."""
    for name, field in schema.get("properties", {}).items():
        if not isinstance(field, dict):
            raise LaunchError(f"{place}.{name}: no schema of a form that the check knows: {field}")
        if name not in schema.get("required", ()):
            yield f"{place}.{name}", str(field.get(SINCE, ""))
        yield from _optional(field, f"{place}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _optional(schema["items"], f"{place}[]")
