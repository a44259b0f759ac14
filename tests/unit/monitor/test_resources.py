"""The resources that events and responses name."""

from __future__ import annotations

from typing import Any

import pytest

from sidecart.monitor import resources as module
from sidecart.monitor.description import Description
from sidecart.monitor.event import Event
from sidecart.monitor.resources import Resources, id_fields
from tests.unit.monitor.described import DESCRIPTION
from tests.unit.monitor.test_flows import example


def created(number: int, **more: Any) -> Event:
    """The event of a new user."""
    data = {"user_id": f"u{number}", "name": "Ann", "email": "ann@example.com"} | more
    return Event("UserCreated", f"e{number}", f"u{number}", "", "", data)


def test_the_ids_of_each_topic_come_from_its_contract() -> None:
    """A field that looks like an id, but is none, is left out."""
    assert ("order_id", "user_id") == id_fields("EmailRequested")
    assert () == id_fields("NoSuchTopic")


def test_a_described_resource_has_its_label() -> None:
    """It is returned when it is new and when it has changed, not when it is repeated."""
    known = Resources(DESCRIPTION)
    first = known.of_event(created(1))

    assert first is not None
    assert ("user_id", "u1", "Ann", "ann@example.com") == (first.kind, first.id, first.label, first.detail)
    assert known.of_event(created(1)) is None
    assert known.of_event(created(1, name="Anna")) is not None
    assert ["Anna"] == [each.label for each in known.all()]
    assert "Anna" == known.field("user_id", "u1", "name")
    assert "A user" == known.field("user_id", "u2", "name")


def test_an_event_without_the_label_is_no_source() -> None:
    """BillingAccountCreated belongs to a user, but has no name."""
    known = Resources(DESCRIPTION)

    assert known.of_event(Event("BillingAccountCreated", "e", "u1", "", "", {"user_id": "u1"})) is None
    assert known.of_event(created(1, name=7)) is None
    assert [] == known.all()


def test_any_resource_is_known_without_a_description() -> None:
    """Its label is the end of its id."""
    known = Resources(Description())
    found = known.of_event(example("OrderCreated"))

    assert found is not None
    assert ("order_id", example("OrderCreated").subject[-8:]) == (found.kind, found.label)


def test_a_response_names_the_created_resource() -> None:
    """The id in the location is one of the fields of the answer."""
    known = Resources(DESCRIPTION)

    assert known.of_answer("", {"user_id": ""}) is None
    assert known.of_answer("u1", {"deposit_id": "d1"}) is None
    found = known.of_answer("u1", {"user_id": "u1", "name": "Ann", "email": "ann@example.com"})
    assert ["u1"] == [each.id for each in known.all()]
    assert found is not None


def test_the_resources_of_a_kind_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest one is forgotten."""
    monkeypatch.setattr(module, "RESOURCES_MAX", 2)
    known = Resources(DESCRIPTION)
    for number in range(4):
        known.of_event(created(number))

    assert ["u2", "u3"] == [each.id for each in known.all()]
    assert "A user" == known.field("user_id", "u1", "name")
