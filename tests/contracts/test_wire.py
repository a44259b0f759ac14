"""The tables, examples and calculations in WIRE.md match the code and the topic list."""

import json
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from gateway.app import SHOP
from sidecart.chassis.server.inbound import RAW
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.launcher.service_code import without_names
from sidecart.launcher.topics import app_ids, read_topics
from tests.contracts.story_replay import STORY, WIRED, replay
from tests.contracts.validate import CONTRACTS, examples, validate

ROOT = CONTRACTS.parent
WIRE = (CONTRACTS / "WIRE.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", WIRE, re.DOTALL | re.MULTILINE)
NAMES = re.compile(rb"redis|rabbit|valkey|amqp|postgres", re.IGNORECASE)
NEUTRAL = ("contracts", "gateway", "services", "src/sidecart/chassis", "dapr")
COMMANDS, QUERIES = SHOP.all_commands, SHOP.queries


def blocks(language: str, holding: str) -> list[str]:
    """Return the code blocks of one language that contain a text."""
    return [text for found, text in BLOCKS if found == language and holding in text]


def rows(heading: str) -> list[list[str]]:
    """Return the rows of the first table whose heading starts with these words."""
    lines = WIRE[WIRE.index(f"| {heading}") :].split("\n\n", 1)[0].splitlines()[2:]
    found = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    columns = len(found[0])
    assert [] == [row(*cells) for cells in found if len(cells) != columns], (
        f"contracts/WIRE.md, the table `{heading}`: each line needs {columns} cells"
    )
    return found


def row(*cells: str) -> str:
    """Return a row of a table as WIRE.md writes it."""
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def compare(section: int, expected: Iterable[str], documented: Iterable[str]) -> None:
    """Assert that a section has what its source has; name the file and each different line."""
    wanted, found = list(expected), list(documented)
    where = f"contracts/WIRE.md, section {section}:"
    different = [f"{where} no line {each}" for each in wanted if each not in found]
    different += [f"{where} no source has {each}" for each in found if each not in wanted]
    assert [] == different, "\n".join(different)


def test_the_app_ids_are_those_of_the_run_file() -> None:
    """WIRE.md names each app of dapr.yaml."""
    [sentence] = re.findall(r"The app-ids are (`.*?`)\.", WIRE, re.DOTALL)

    compare(1, app_ids(), re.findall(r"`(.*?)`", sentence))


def test_the_topics_are_those_of_the_topic_list() -> None:
    """WIRE.md lists the publisher, consumers and component of each topic."""
    expected = [
        row(topic, way.publisher, ", ".join(way.consumers), way.component) for topic, way in read_topics().items()
    ]

    compare(3, expected, [row(*cells) for cells in rows("topic")])


def test_each_service_has_its_steps() -> None:
    """Section 10 has a paragraph for each service, which names each of its events."""
    steps = WIRE[WIRE.index("\n## 10. ") : WIRE.index("\n## 11. ")]
    parts = {part.partition("**")[0]: part for part in steps.split("\n**")[1:]}

    compare(10, WIRED, parts)
    for name, service in WIRED.items():
        topics = {*service.inputs, *(topic for topic, way in read_topics().items() if way.publisher == name)}
        expected = {each: f"{name}: {each}" for each in sorted(topics)}
        compare(10, expected.values(), [text for each, text in expected.items() if each in parts[name]])


def test_the_reads_are_the_calls_of_the_gateway() -> None:
    """Section 12 lists each query of the gateway, and each flow at each service where it ends."""
    queries = [row(each.app_id, f"`{without_names(each.path)}`", f"`{each.schema}`") for each in QUERIES]
    flows = [
        row(app_id, f"`/unfinished/{each.flow.name}/{{}}`")
        for each in COMMANDS
        if each.flow is not None
        for app_id in each.flow.ends_at
    ]
    reads = [
        row(service, without_names(path), body.partition(":")[0])
        for service, path, body in rows("service | path | body")
    ]
    ends = [row(service, without_names(path)) for service, path, _ in rows("service | path | a flow")]

    compare(12, queries, reads)
    compare(12, flows, ends)


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
    store = MemorySidecar()
    replay(WIRED["user"], store, STORY[:1])

    written = json.dumps(json.loads(record), separators=(",", ":"), ensure_ascii=False).encode()

    (key,) = re.findall(r"under\n`(email:[0-9a-f]{64})`", WIRE)
    assert written == store.records[key]


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


def test_the_records_have_the_documented_fields() -> None:
    """The tables list the same fields as the dataclasses of the records."""
    primary = [row(name, "`<key>`", ", ".join(_names(service.state))) for name, service in WIRED.items()]
    secondary = [
        row(name, word, ", ".join(_names(kind)))
        for name, service in WIRED.items()
        for word, kind in service.secondaries.items()
    ]
    documented = [
        row(name, key.strip("`").partition(":")[0], ", ".join(_fields(cell)))
        for name, key, cell in rows("service | secondary record (the bare object) | fields")
    ]

    compare(
        7,
        primary,
        [
            row(name, "`<key>`", ", ".join(_fields(cell)))
            for name, _, cell in rows("service | primary record (state and outbox) | state")
        ],
    )
    compare(7, secondary, documented)


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
    for path in sorted((CONTRACTS / "http").iterdir()):
        assert f"`{path.stem}`" in WIRE, f"contracts/WIRE.md: no mention of `{path.stem}` (contracts/http/{path.name})"
