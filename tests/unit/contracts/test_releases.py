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
    change(project, "common.json", lambda shared: shared["$defs"]["id"].update(maxLength=12))
    releases.release(project, "0.10.0", made())
    change(project, "common.json", lambda shared: shared["$defs"]["id"].update(maxLength=10))

    assert ["0.9.0", "0.10.0"] == releases.versions(project)
    assert ["contracts/schemas/Sold.json.data.id", "contracts/http/sold.json.id"] == [
        each.place for each in releases.changes(project)
    ]
    assert all(each.is_breaking for each in releases.changes(project))


def test_a_name_is_not_used_again_for_something_else(project: Path) -> None:
    """A field that a release had removed breaks the events of the release before."""
    note: dict[str, Any] = {"note": {"type": "string", "x-since": "0.2.0"}}
    change(project, "schemas/Sold.json", lambda schema: schema["properties"]["data"]["properties"].update(note))
    releases.release(project, "0.2.0", made())
    change(project, "schemas/Sold.json", lambda schema: schema["properties"]["data"]["properties"].pop("note"))
    releases.release(project, "0.3.0", made())
    note = {"note": {"type": "integer", "x-since": "0.4.0"}}
    change(project, "schemas/Sold.json", lambda schema: schema["properties"]["data"]["properties"].update(note))

    [breaking] = [each for each in releases.changes(project) if each.is_breaking]

    assert "the type changed from string to integer since 0.2.0" == breaking.what


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda data: data["required"].append("tenant"), "a required field was added"),
        (lambda data: data["properties"].update(note={"type": "string"}), 'lacks "x-since"'),
        (lambda data: data["properties"].update(note={"x-since": "0.2.0"}), "the newest release is 0.2.0"),
    ],
)
def test_a_release_with_a_breaking_change_is_refused(
    project: Path, edit: Callable[[dict[str, Any]], object], text: str
) -> None:
    """Otherwise the next check would compare with the broken one, and find nothing."""
    releases.release(project, "0.2.0", made())
    change(project, "schemas/Sold.json", lambda schema: edit(schema["properties"]["data"]))

    with pytest.raises(LaunchError, match=rf"run `sidecart contracts check` first: .*{text}"):
        releases.release(project, "0.3.0", made())

    assert ["0.2.0"] == releases.versions(project)


@pytest.mark.parametrize(
    "version", ["0.1.0", "0.02.0", "\N{ARABIC-INDIC DIGIT NINE}.1.1", "99999999999999999999.0.0", "1.0.0-rc1"]
)
def test_a_release_is_the_newest(project: Path, version: str) -> None:
    """An older version would change the meaning of the newest one; other forms are no versions."""
    releases.release(project, "0.2.0", made())

    with pytest.raises(LaunchError, match=r"is older than|is not a version"):
        releases.release(project, version, made())


def test_a_release_that_fails_leaves_nothing(project: Path) -> None:
    """A retry after the repair works."""
    (project / "contracts/http/sold.json").rename(project / "sold.json")
    (project / "contracts/http").rmdir()
    with pytest.raises(LaunchError, match="contracts/http is missing: restore the folder"):
        releases.release(project, "0.2.0", made())
    assert not (project / "contracts/released").exists()

    (project / "contracts/http").mkdir()
    (project / "sold.json").rename(project / "contracts/http/sold.json")
    assert releases.release(project, "0.2.0", made()).is_dir()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("schemas/Sold.json", None, r"contracts/schemas/Sold\.json: Expected `object`"),
        (
            "schemas/Sold.json",
            {"properties": {"data": {"properties": {"id": True}}}},
            r"Sold\.json: no schema of a form",
        ),
        ("schemas/Sold.json", {"properties": {"data": {"properties": []}}}, "no schema of a form"),
        ("schemas/Sold.json", {"properties": {"data": {**DATA, "minimum": "6"}}}, None),
        ("common.json", [], r"contracts/common\.json: Expected `object`"),
        ("common.json", {"$defs": {"id": {"$ref": "#/$defs/id"}}}, "refers to itself"),
        ("topics.json", {"Sold": {"publisher": "till", "consumers": "book", "component": "inbox"}}, "Expected `array`"),
        ("topics.json", [], r"contracts/topics\.json: Expected `object`"),
        ("retired.json", {"Old": " "}, "Old has no reason"),
        ("retired.json", {"Sold": "sold out"}, "Sold is in contracts/topics.json"),
    ],
)
def test_a_malformed_file_is_named(project: Path, name: str, value: object, text: str | None) -> None:
    """The error says which file to repair; a strange bound is a change like any other."""
    releases.release(project, "0.2.0", made())
    write(project, name, value)

    if text is None:
        assert [True] == [each.is_breaking for each in releases.changes(project)]
        return
    with pytest.raises(LaunchError, match=text):
        [*releases.changes(project), *releases.undated(project)]


def test_a_removed_schema_of_a_live_topic_is_breaking(project: Path) -> None:
    """A topic without a schema has no contract."""
    releases.release(project, "0.2.0", made())
    (project / "contracts/schemas/Sold.json").unlink()

    assert ["contracts/schemas/Sold.json"] == [each.place for each in releases.changes(project) if each.is_breaking]


def test_a_damaged_release_is_named(project: Path) -> None:
    """A comparison with nothing would find nothing."""
    releases.release(project, "0.2.0", made())
    (project / "contracts/released/0.2.0/http/sold.json").unlink()
    (project / "contracts/released/0.2.0/http").rmdir()

    with pytest.raises(LaunchError, match=r"contracts/released/0\.2\.0/http is missing: restore"):
        releases.changes(project)


def test_an_answer_may_get_a_field_although_its_schema_is_closed(project: Path) -> None:
    """The schema of an answer is exact for the tests; clients ignore unknown fields."""
    change(project, "http/sold.json", lambda schema: schema.update(additionalProperties=False))
    releases.release(project, "0.2.0", made())
    change(project, "http/sold.json", lambda schema: schema["properties"].update(note={"type": "string"}))

    assert [False] == [each.is_breaking for each in releases.changes(project)]


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
