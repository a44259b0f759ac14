"""A release keeps the contracts, events and records of a version; later changes are found."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecart.contracts import releases
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.contracts.scenario import Example, Run
from sidecart.launcher.errors import LaunchError

EVENT = {"type": "Sold", "time": "2026-01-15T09:30:00.000Z", "data": {"id": "a"}}
TOPICS = {"Sold": {"publisher": "till", "consumers": ["book"], "component": "inbox"}}
DATA = {"type": "object", "required": ["id"], "properties": {"id": {"$ref": "../common.json#/$defs/id"}}}


def made() -> Run:
    """Return a scenario of one event, which the service `book` has processed."""
    sidecar = MemorySidecar()
    sidecar.saves.append(("book:a", b'{"state":{"n":1},"outbox":{}}'))
    return Run([Example("typical", dict(EVENT))], {"book": sidecar})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with one topic."""
    for folder in ("schemas", "http", "examples/Sold"):
        (tmp_path / "contracts" / folder).mkdir(parents=True)
    write(tmp_path, "common.json", {"$defs": {"id": {"type": "string", "maxLength": 9}}})
    write(tmp_path, "topics.json", TOPICS)
    write(tmp_path, "schemas/Sold.json", {"properties": {"data": DATA}})
    write(tmp_path, "http/sold.json", DATA)
    write(tmp_path, "examples/Sold/typical.json", EVENT)
    return tmp_path


def write(project: Path, name: str, value: object) -> None:
    """Write a file of contracts/."""
    (project / "contracts" / name).write_text(f"{json.dumps(value, indent=2)}\n", encoding="utf-8")


def change(project: Path, name: str, edit: Callable[[Any], object]) -> None:
    """Change a file of contracts/."""
    value = json.loads((project / "contracts" / name).read_text("utf-8"))
    edit(value)
    write(project, name, value)


def test_a_release_can_be_read_again(project: Path) -> None:
    """It holds the events by time, and the records in the sequence of their writes."""
    assert project / "contracts/released/0.2.0" == releases.release(project, "0.2.0", made())

    assert ["0.2.0"] == releases.versions(project)
    assert [EVENT] == releases.read_events(project, "0.2.0")
    assert [("book:a", b'{"state":{"n":1},"outbox":{}}')] == releases.read_records(project, "0.2.0", "book")
    assert [] == releases.changes(project)


def test_a_release_never_changes(project: Path) -> None:
    """A second release of a version is refused, and so is a name that is no version."""
    releases.release(project, "0.2.0", made())

    with pytest.raises(LaunchError, match=r"contracts/released/0\.2\.0 exists: a release never changes"):
        releases.release(project, "0.2.0", made())
    with pytest.raises(LaunchError, match=r"next is not a version of the form 1\.2\.3"):
        releases.release(project, "next", made())


def test_a_release_with_stale_examples_is_refused(project: Path) -> None:
    """Nothing is written."""
    write(project, "examples/Sold/typical.json", {**EVENT, "data": {"id": "b"}})

    with pytest.raises(LaunchError, match=r"contracts/examples/Sold/typical\.json differs"):
        releases.release(project, "0.2.0", made())

    assert not (project / "contracts/released").exists()


def test_changes_are_compared_with_the_newest_release(project: Path) -> None:
    """Versions are compared by number: 0.10.0 is newer than 0.9.0."""
    releases.release(project, "0.9.0", made())
    change(project, "common.json", lambda shared: shared["$defs"]["id"].update(maxLength=8))
    releases.release(project, "0.10.0", made())
    change(project, "common.json", lambda shared: shared["$defs"]["id"].update(maxLength=9))

    assert ["0.9.0", "0.10.0"] == releases.versions(project)
    assert ["contracts/schemas/Sold.json.data.id", "contracts/http/sold.json.id"] == [
        each.place for each in releases.changes(project)
    ]
    assert not any(each.is_breaking for each in releases.changes(project))


def test_a_renamed_topic_and_a_removed_answer_are_breaking(project: Path) -> None:
    """Both have consumers outside this project."""
    releases.release(project, "0.2.0", made())
    change(project, "topics.json", lambda topics: topics.update(Bought=topics.pop("Sold")))
    (project / "contracts/http/sold.json").unlink()

    breaking = [each.place for each in releases.changes(project) if each.is_breaking]

    assert ["contracts/topics.json: Sold", "contracts/http/sold.json"] == breaking


def test_a_retired_topic_is_no_breaking_change(project: Path) -> None:
    """contracts/retired.json has the reason."""
    releases.release(project, "0.2.0", made())
    write(project, "topics.json", {})
    write(project, "retired.json", {"Sold": "replaced in 0.3.0"})

    assert [] == [each for each in releases.changes(project) if each.is_breaking]


def test_an_optional_field_says_since_when(project: Path) -> None:
    """A field that is optional needs the version that added it."""
    assert [] == list(releases.undated(project))
    change(
        project,
        "schemas/Sold.json",
        lambda schema: schema["properties"]["data"]["properties"].update(
            note={"type": "string"}, tip={"type": "integer", "x-since": "0.3.0"}
        ),
    )

    assert [
        'contracts/schemas/Sold.json: data.note is optional and lacks "x-since": "<the version that adds it>"'
    ] == list(releases.undated(project))
