"""The AsyncAPI document matches the topic list, the command declarations and the schemas."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.app import SHOP
from gateway.commands import COMMANDS
from sidecart.edge import asyncapi
from sidecart.edge.declarations import CommandDeclaration
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.topics import read_topics

DOCUMENT = asyncapi.document(SHOP, "7")
OPERATIONS: dict[str, dict[str, Any]] = DOCUMENT["operations"]


def references(value: object) -> Iterator[str]:
    """Yield every `$ref` in a value."""
    if isinstance(value, dict):
        if "$ref" in value:
            assert ["$ref"] == list(value)
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def at(reference: str) -> Any:
    """Return the target of a reference; raise KeyError if there is none."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def topic_of(operation: dict[str, Any]) -> str:
    """Return the topic of an operation."""
    address: str = at(operation["channel"]["$ref"])["address"]
    return address


def ends() -> set[tuple[str, str, str]]:
    """Return app-id, action and topic of every operation."""
    return {(tag["name"], each["action"], topic_of(each)) for each in OPERATIONS.values() for tag in each["tags"]}


def test_the_document_has_its_title_and_version() -> None:
    """`document` sets the title and the version that it is called with."""
    assert ("3.0.0", "Sidecart", "7") == (DOCUMENT["asyncapi"], DOCUMENT["info"]["title"], DOCUMENT["info"]["version"])


def test_every_topic_has_a_channel_of_the_same_name() -> None:
    """Each channel has one message, which is the topic's."""
    assert {topic: topic for topic in read_topics()} == {
        name: each["address"] for name, each in DOCUMENT["channels"].items()
    }
    for topic in read_topics():
        assert [topic] == [at(each["$ref"])["name"] for each in DOCUMENT["channels"][topic]["messages"].values()]


def test_every_reference_resolves_and_has_no_siblings() -> None:
    """AsyncAPI reads schemas as JSON Schema draft 07, which ignores the siblings of a reference."""
    found = list(references(DOCUMENT))

    assert len(found) > len(read_topics())
    assert all(at(each) for each in found)


def test_every_component_is_referenced() -> None:
    """An unreferenced schema or message would describe nothing."""
    defined = {f"#/components/{kind}/{name}" for kind, each in DOCUMENT["components"].items() for name in each}

    assert set() == defined - set(references(DOCUMENT))
    assert set(read_topics()) < set(DOCUMENT["components"]["schemas"])


def test_senders_and_receivers_match_the_topic_list() -> None:
    """Each topic has its publisher and all its consumers, and no others."""
    sent = {(way.publisher, "send", topic) for topic, way in read_topics().items()}
    received = {(app_id, "receive", topic) for topic, way in read_topics().items() for app_id in way.consumers}

    assert sent | received == ends()


def test_an_operation_has_the_message_of_its_channel() -> None:
    """The same holds for its reply."""
    for each in OPERATIONS.values():
        for side in (each, each.get("reply", each)):
            assert [f"{side['channel']['$ref']}/messages/{topic_of(side)}"] == [one["$ref"] for one in side["messages"]]


@pytest.mark.parametrize("declaration", COMMANDS, ids=lambda declaration: declaration.path)
def test_a_command_has_an_operation_for_each_reply(declaration: CommandDeclaration) -> None:
    """The gateway sends and the service receives, once for each of the two replies."""
    (service,) = read_topics()[declaration.topic].consumers
    found = [each for each in OPERATIONS.values() if topic_of(each) == declaration.topic]
    operations = [(each["tags"][0]["name"], each["action"], topic_of(each["reply"])) for each in found]

    sides = (("gateway", "send"), (service, "receive"))
    assert [(*side, reply) for side in sides for reply in (declaration.success, declaration.rejection)] == operations
    assert all(declaration.path in each["summary"] for each in found)


def test_no_other_event_has_a_reply() -> None:
    """Only commands have replies."""
    commands = {declaration.topic for declaration in SHOP.all_commands}

    assert commands == {topic_of(each) for each in OPERATIONS.values() if "reply" in each}
    assert [] == [name for name, each in OPERATIONS.items() if topic_of(each) in commands and "reply" not in each]


@pytest.mark.parametrize("topic", read_topics())
def test_every_message_has_the_location_of_its_correlation_id(topic: str) -> None:
    """Each example has a correlation id at that location."""
    message = at(f"#/components/messages/{topic}")
    where = at(message["correlationId"]["$ref"])["location"]

    assert "$message.payload#/correlationid" == where
    assert message["examples"]
    assert all(each["payload"]["correlationid"] for each in message["examples"])


def test_every_broker_is_a_server_without_an_address() -> None:
    """Host and port are variables; the default host is localhost."""
    assert set(BROKERS) == set(DOCUMENT["servers"])
    for each in DOCUMENT["servers"].values():
        assert "{host}:{port}" == each["host"]
        assert {"host", "port"} == set(each["variables"])
        assert "localhost" == each["variables"]["host"]["default"]
