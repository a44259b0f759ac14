"""The examples form consistent flows, which the gateway and the services reproduce."""

import uuid
from datetime import datetime
from typing import Any

import msgspec
import pytest

from gateway.app import SHOP
from sidecart.contracts.memory_sidecar import MemorySidecar
from sidecart.edge.command import build_command
from sidecart.launcher.topics import GATEWAY, read_topics, service_ids
from tests.contracts.story_replay import STORY, WIRED, replay, wordless
from tests.contracts.validate import (
    Event,
    aggregate_id,
    command_id,
    derived_id,
    examples,
    is_caused_by,
    unexplained,
)

BODIES = {command.topic: command.body for command in SHOP.all_commands}


@pytest.mark.parametrize("name", service_ids())
def test_each_service_publishes_its_examples(name: str) -> None:
    """The published events have the ids, fields, values, times and order of the examples."""
    store = MemorySidecar()

    expected = replay(WIRED[name], store, STORY)

    published = {event["id"]: event for _, event in store.published}
    without_example = [
        f"contracts/examples/{event['type']}: no example has the id {event['id']}, which {name} publishes"
        for event in published.values()
        if event["id"] not in {each["id"] for each in expected}
    ]
    assert [] == without_example, "\n".join(without_example)
    assert expected
    assert [wordless(event) for event in expected] == [wordless(event) for _, event in store.published]
    assert all(topic == event["type"] for topic, event in store.published)


@pytest.mark.parametrize("name", service_ids())
def test_each_service_repeats_its_events(name: str) -> None:
    """A second replay changes no state and publishes every event again with the same id.

    The registration of a user that was erased since then is rejected instead.
    """
    erased = {event["subject"] for event in STORY if event["type"] == "UserErased"}
    store = MemorySidecar()
    replay(WIRED[name], store, STORY)
    published_ids = [
        event["id"] for topic, event in store.published if topic != "UserCreated" or event["subject"] not in erased
    ]
    states = _without_outboxes(store)
    store.published.clear()

    replay(WIRED[name], store, STORY)

    assert states == _without_outboxes(store)
    assert set(published_ids) <= {event["id"] for _, event in store.published}


def _without_outboxes(store: MemorySidecar) -> dict[str, Any]:
    records = {key: msgspec.json.decode(value) for key, value in store.records.items()}
    return {key: record.get("state", record) for key, record in records.items()}


@pytest.mark.parametrize("name", service_ids())
def test_each_service_consumes_the_topics_of_the_topic_list(name: str) -> None:
    """The event processor has exactly the topics of `inbox`; the Mailer consumes EmailRequested."""
    consumed = {topic for topic, way in read_topics().items() if name in way.consumers and way.component == "inbox"}

    assert consumed == set(WIRED[name].inputs)


@pytest.mark.parametrize("event", [pytest.param(each, id=each["id"]) for each in STORY if each["source"] == GATEWAY])
def test_the_gateway_makes_these_commands(event: dict[str, Any]) -> None:
    """`build_command` returns each example command for a valid request body."""
    id_field = aggregate_id(event["type"])
    fields = {name: value for name, value in event["data"].items() if name != id_field}
    body = BODIES[event["type"]].model_validate(fields).model_dump(exclude_none=True)

    ids, at = {id_field: event["data"][id_field]}, datetime.fromisoformat(event["time"])

    made = build_command(event["type"], event["subject"], "/", body, ids, at=at)

    assert event == msgspec.json.decode(made.event)


def position_of(event: dict[str, Any], cause: Event) -> int:
    """Return the number of the outputs that the publisher of an event has before it."""
    outputs = [each for each in STORY if each["source"] == event["source"] and is_caused_by(each, cause)]
    return outputs.index(event)


@pytest.mark.parametrize("event", [pytest.param(each, id=each["id"]) for each in STORY])
def test_each_id_follows_the_rule(event: dict[str, Any]) -> None:
    """A command's id derives from resource and body, any other id from the event that caused it."""
    causes = [each for each in STORY if event["source"] != GATEWAY and is_caused_by(event, each)]
    possible = [
        derived_id(each, event, 0)
        for each in STORY
        if each["correlationid"] == event["correlationid"] and event["source"] in read_topics()[each["type"]].consumers
    ]

    if event["source"] == GATEWAY:
        assert command_id(event) == event["id"] == event["correlationid"]
    else:
        assert [derived_id(cause, event, position_of(event, cause)) for cause in causes] == [event["id"]], (
            f"contracts/examples/{event['type']}: {event['id']} must be one of {possible} (WIRE.md, section 5)"
        )


def test_account_payment_and_message_ids_are_derived() -> None:
    """Account ids, payment ids and Message-IDs derive from the user's or order's id."""

    def named(owner: str, word: str) -> str:
        return str(uuid.uuid5(uuid.UUID(owner), word))

    for account in examples("BillingAccountCreated").values():
        assert named(account["subject"], "account") == account["data"]["account_id"]
    for payment in examples("OrderPaymentCreated").values():
        assert named(payment["subject"], "payment") == payment["data"]["payment_id"]
    for mail in examples("EmailRequested").values():
        assert f"<{named(mail['subject'], 'letter')}@sidecart>" == mail["data"]["message_id"]


def test_an_event_without_a_cause_is_found() -> None:
    """`unexplained` reports an event whose cause is missing from its flow."""
    cause = "OrderPaymentCreated"
    orphans: list[Event] = [event for event in STORY if event["type"] != cause]

    assert [] == unexplained(STORY)
    caused = [
        event["type"] for event in STORY if any(each["type"] == cause and is_caused_by(event, each) for each in STORY)
    ]
    assert "OrderPaid" in caused
    assert caused == [line.split()[0] for line in unexplained(orphans)]
