"""Which records an id may have, as the project declares them for the search of a flow by id."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator

import msgspec

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import declared_text, root
from sidecart.launcher.topics import app_ids

LIVE_PAGE = "live_page"
PLACE = "{id}"


class RecordKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of record that an id may have."""

    app: str
    key: str
    """The state key of the app, with {id} in the place of the id."""


def record_problems(records: Iterable[RecordKey], apps: Iterable[str]) -> Iterator[str]:
    """Yield each entry with an unknown app, or without a place for the id."""
    known = set(apps)
    for record in records:
        if record.app not in known or PLACE not in record.key:
            yield f"records: {record.app} {record.key} needs an app of dapr.yaml, and a key with {PLACE}"


def read_record_keys() -> list[RecordKey]:
    """Return the table `records` of the file that describes the live page; empty without it.

    Raises LaunchError, which names the file, if the table is malformed.
    """
    name = declared_text(LIVE_PAGE)
    if not name:
        return []
    file = root() / name
    try:
        records = tomllib.loads(file.read_text(encoding="utf-8")).get("records", [])
        found = msgspec.convert(records, list[RecordKey])
    except (OSError, ValueError) as error:
        raise LaunchError(f"{file} does not declare records: {error}") from error
    for problem in record_problems(found, app_ids()):
        raise LaunchError(f"{file}: {problem}")
    return found
