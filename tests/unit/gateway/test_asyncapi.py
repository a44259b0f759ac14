"""The AsyncAPI document: the topic list, the held calls and the schemas are in it, and nothing else is."""

from collections.abc import Iterator
from typing import Any

import pytest

from cli.servers.registry import BROKERS
from cli.topics import TOPICS
from gateway import asyncapi
from gateway.command_declarations import DECLARATIONS, CommandDeclaration

DOCUMENT = asyncapi.document("Shop", "7")
OPERATIONS: dict[str, dict[str, Any]] = DOCUMENT["operations"]


def references(value: object) -> Iterator[str]:
    """Every `$ref` in it."""
    if isinstance(value, dict):
        if "$ref" in value:
            assert ["$ref"] == list(value)
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def at(reference: str) -> Any:
    """What a reference leads to; a KeyError if nothing is there."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def topic_of(operation: dict[str, Any]) -> str:
    """The topic that an operation is on."""
    address: str = at(operation["channel"]["$ref"])["address"]
    return address


def ends() -> set[tuple[str, str, str]]:
    """Who does what on which topic."""
    return {(tag["name"], each["action"], topic_of(each)) for each in OPERATIONS.values() for tag in each["tags"]}


def test_it_says_whose_it_is() -> None:
    """The title and version that it is given."""
    assert ("3.0.0", "Shop", "7") == (DOCUMENT["asyncapi"], DOCUMENT["info"]["title"], DOCUMENT["info"]["version"])


def test_every_topic_has_a_channel_of_its_name() -> None:
    """With one message, which is the topic's."""
    assert {topic: topic for topic in TOPICS} == {name: each["address"] for name, each in DOCUMENT["channels"].items()}
    for topic in TOPICS:
        assert [topic] == [at(each["$ref"])["name"] for each in DOCUMENT["channels"][topic]["messages"].values()]


def test_every_reference_leads_somewhere_and_stands_alone() -> None:
    """Draft 07, which AsyncAPI reads schemas as, ignores what stands beside one."""
    found = list(references(DOCUMENT))

    assert len(found) > len(TOPICS)
    assert all(at(each) for each in found)


def test_every_component_is_used() -> None:
    """A schema or message that nothing refers to would describe nothing."""
    kept = {f"#/components/{kind}/{name}" for kind, each in DOCUMENT["components"].items() for name in each}

    assert set() == kept - set(references(DOCUMENT))
    assert set(TOPICS) < set(DOCUMENT["components"]["schemas"])


def test_who_sends_and_who_receives_is_what_the_topic_list_says() -> None:
    """Each topic's publisher, and each of its consumers."""
    sent = {(way.publisher, "send", topic) for topic, way in TOPICS.items()}
    received = {(app_id, "receive", topic) for topic, way in TOPICS.items() for app_id in way.consumers}

    assert sent | received == ends()


def test_an_operation_has_the_message_of_its_channel() -> None:
    """So has a reply."""
    for each in OPERATIONS.values():
        for side in (each, each.get("reply", each)):
            assert [f"{side['channel']['$ref']}/messages/{topic_of(side)}"] == [one["$ref"] for one in side["messages"]]


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=lambda declaration: declaration.path)
def test_a_held_command_is_a_request_with_either_reply(declaration: CommandDeclaration) -> None:
    """To the gateway, which asks, and to the service, which answers."""
    (service,) = TOPICS[declaration.command].consumers
    found = [each for each in OPERATIONS.values() if topic_of(each) == declaration.command]
    asked = [(each["tags"][0]["name"], each["action"], topic_of(each["reply"])) for each in found]

    sides = (("gateway", "send"), (service, "receive"))
    assert [(*side, reply) for side in sides for reply in (declaration.success, declaration.rejection)] == asked
    assert all(declaration.path in each["summary"] for each in found)


def test_nothing_else_is_a_request() -> None:
    """An event is told, not asked."""
    commands = {declaration.command for declaration in DECLARATIONS}

    assert commands == {topic_of(each) for each in OPERATIONS.values() if "reply" in each}
    assert [] == [name for name, each in OPERATIONS.items() if topic_of(each) in commands and "reply" not in each]


@pytest.mark.parametrize("topic", TOPICS)
def test_every_message_says_where_its_correlation_id_is(topic: str) -> None:
    """There it is in each of its examples."""
    message = at(f"#/components/messages/{topic}")
    where = at(message["correlationId"]["$ref"])["location"]

    assert "$message.payload#/correlationid" == where
    assert message["examples"]
    assert all(each["payload"]["correlationid"] for each in message["examples"])


def test_every_broker_is_a_server_without_an_address() -> None:
    """Host and port are variables; what they default to is this machine."""
    assert set(BROKERS) == set(DOCUMENT["servers"])
    for each in DOCUMENT["servers"].values():
        assert "{host}:{port}" == each["host"]
        assert {"host", "port"} == set(each["variables"])
        assert "localhost" == each["variables"]["host"]["default"]


def test_it_is_made_once() -> None:
    """The same bytes, not equal ones."""
    assert asyncapi.served("Shop", "7") is asyncapi.served("Shop", "7")
