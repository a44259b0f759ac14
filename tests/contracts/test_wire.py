"""The tables, examples and calculations in WIRE.md match the code and the topic list."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from sidecart.chassis.server.inbound import RAW
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.service import Service
from sidecart.launcher.topics import read_topics
from tests.contracts.story_replay import STORY, WIRED, InMemoryStore, replay
from tests.contracts.validate import CONTRACTS, examples, validate

ROOT = CONTRACTS.parent
WIRE = (CONTRACTS / "WIRE.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", WIRE, re.DOTALL | re.MULTILINE)
NAMES = re.compile(rb"redis|rabbit|valkey|amqp|postgres", re.IGNORECASE)
NEUTRAL = ("contracts", "gateway", "services", "chassis", "dapr")


def blocks(language: str, holding: str) -> list[str]:
    """Return the code blocks of one language that contain a text."""
    return [text for found, text in BLOCKS if found == language and holding in text]


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the first table that starts with this heading."""
    lines = WIRE[WIRE.index(f"| {heading} |") :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def test_the_topics_are_those_of_the_topic_list() -> None:
    """WIRE.md lists the publisher, consumers and component of each topic."""
    documented = {
        topic: (publisher, tuple(consumers.split(", ")) if consumers else (), component)
        for topic, publisher, consumers, component in rows("topic")
    }

    assert {topic: (way.publisher, way.consumers, way.component) for topic, way in read_topics().items()} == documented


def test_the_worked_example_of_the_ids_is_right() -> None:
    """The Python example in WIRE.md runs, and its ids are those of the examples."""
    (code,) = blocks("python", "uuid5")

    exec(compile(code, "WIRE.md", "exec"), {})

    for topic in ("UserCreateRequested", "UserCreated", "BillingAccountCreated", "OrderCreated"):
        assert examples(topic)["typical"]["id"] in code
    assert examples("OrderPaymentRequested")["typical"]["id"] in code


def test_the_record_is_the_one_that_is_saved() -> None:
    """The saved record equals the one in WIRE.md byte for byte, apart from whitespace."""
    (record,) = blocks("json", '"outbox"')
    store = InMemoryStore()
    replay(WIRED["user"], store, STORY[:1])

    written = json.dumps(json.loads(record), separators=(",", ":"), ensure_ascii=False).encode()

    assert written == store.records["email:ada@example.com"]


def test_the_event_that_is_published_is_an_example() -> None:
    """The CloudEvent in WIRE.md's publish request is the typical UserCreated example."""
    (request,) = blocks("http", "/v1.0/publish/")
    event = json.loads(request.strip().splitlines()[-1])

    assert [] == validate(event, "UserCreated")
    assert examples("UserCreated")["typical"] == event


def test_the_subscriptions_are_those_of_the_service() -> None:
    """WIRE.md lists the subscriptions of the User Service, including its loopback probe."""
    (listed,) = blocks("json", '"pubsubname"')

    expected = [*WIRED["user"].inputs, LoopbackProbe("inbox", "user").topic]
    assert expected == [each["topic"] for each in json.loads(listed)]
    assert [f"/events/inbox/{topic}" for topic in expected] == [each["route"] for each in json.loads(listed)]
    assert [RAW] * len(expected) == [each["metadata"] for each in json.loads(listed)]


@pytest.mark.parametrize("service", WIRED.values(), ids=WIRED)
def test_the_records_have_the_documented_fields(service: Service[Any, Any]) -> None:
    """The tables list the same fields as the dataclasses of the records."""
    primary = {row[0]: row for row in rows("service | primary record (state and outbox) | state")}
    secondaries = {
        row[1].strip("`").partition(":")[0]: _fields(row[2])
        for row in rows("service | secondary record (the bare object) | fields")
        if row[0] == service.name
    }

    assert _names(service.state) == _fields(primary[service.name][2])
    assert {word: _names(kind) for word, kind in service.secondaries.items()} == secondaries


def _names(kind: type[Any]) -> list[str]:
    return [each.name for each in fields(kind)]


def _fields(cell: str) -> list[str]:
    bare = re.sub(r" (\{.*?\}|\[.*?\])( or null)?", "", cell.strip("`"))
    return bare.split(", ")


@pytest.mark.parametrize("folder", NEUTRAL)
def test_no_broker_or_store_is_named(folder: str) -> None:
    """Only components/ and the launcher name a broker or store."""
    named = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and _is_named(path)
    ]

    assert [] == named


def _is_named(path: Path) -> bool:
    return bool(NAMES.search(path.read_bytes()) or NAMES.search(path.name.encode()))


def test_every_file_of_http_is_documented() -> None:
    """WIRE.md mentions every schema in contracts/http."""
    for path in (CONTRACTS / "http").iterdir():
        assert f"`{path.stem}`" in WIRE
