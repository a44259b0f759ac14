"""Each kind of change of a schema or a topic is classified, with its reason."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from sidecart.contracts.compatibility import Change, schema_changes, topic_changes

Schema = dict[str, Any]
SCHEMA: Schema = {
    "type": "object",
    "required": ["id", "amount", "reason", "items"],
    "properties": {
        "id": {"type": "string", "minLength": 3, "maxLength": 9, "pattern": "^[a-z]+$", "format": "uuid"},
        "amount": {"type": "integer", "minimum": 1, "maximum": 10},
        "reason": {"type": "string", "enum": ["late", "poor"]},
        "items": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
        },
        "note": {"type": "string", "x-since": "0.2.0"},
        "topic": {"const": "Sold"},
    },
    "additionalProperties": True,
}
TOPICS = {"Sold": {"publisher": "till", "consumers": ["book"], "component": "inbox"}}


def of_fields(change: Callable[[Schema], object]) -> Schema:
    """Return a copy of the schema whose fields are changed."""
    changed = copy.deepcopy(SCHEMA)
    change(changed["properties"])
    return changed


def require(*names: str) -> Schema:
    """Return a copy of the schema that requires these fields."""
    return {**copy.deepcopy(SCHEMA), "required": list(names)}


BREAKING = {
    "a required field was added": {
        **of_fields(lambda fields: fields.update(tax={"type": "integer"})),
        "required": [*SCHEMA["required"], "tax"],
    },
    "a required field was removed": {
        **of_fields(lambda fields: fields.pop("amount")),
        "required": ["id", "reason", "items"],
    },
    "an optional field became required": require(*SCHEMA["required"], "note"),
    "a required field became optional": require("id", "reason", "items"),
    "the type changed from integer to number": of_fields(lambda fields: fields["amount"].update(type="number")),
    "the type changed from string to None": of_fields(lambda fields: fields["note"].pop("type")),
    "`maximum` changed from 10 to 9": of_fields(lambda fields: fields["amount"].update(maximum=9)),
    "`minimum` changed from 1 to 2": of_fields(lambda fields: fields["amount"].update(minimum=2)),
    "`maxItems` changed from none to 5": of_fields(lambda fields: fields["items"].update(maxItems=5)),
    "`minLength` changed from 3 to 4": of_fields(lambda fields: fields["id"].update(minLength=4)),
    "`pattern` changed from ^[a-z]+$ to ^[a-y]+$": of_fields(lambda fields: fields["id"].update(pattern="^[a-y]+$")),
    "`format` changed from None to email": of_fields(lambda fields: fields["note"].update(format="email")),
    "`const` changed from Sold to Bought": of_fields(lambda fields: fields["topic"].update(const="Bought")),
    "the values late were removed": of_fields(lambda fields: fields["reason"].update(enum=["poor"])),
    "only the values a are allowed now": of_fields(lambda fields: fields["note"].update(enum=["a"])),
    "the type of the list's entries changed": of_fields(lambda fields: fields["items"].pop("items")),
    "unknown fields are no longer allowed": {**copy.deepcopy(SCHEMA), "additionalProperties": False},
    "the form of unknown fields changed": {**copy.deepcopy(SCHEMA), "additionalProperties": {"type": "integer"}},
    "`const` changed from None to None": of_fields(lambda fields: fields["note"].update(const=None)),
    "`if` changed": {**copy.deepcopy(SCHEMA), "if": {"required": ["note"]}},
}
COMPATIBLE = {
    "an optional field was added": of_fields(lambda fields: fields.update(tax={"type": "integer"})),
    "an optional field was removed": of_fields(lambda fields: fields.pop("note")),
    "`maximum` changed from 10 to 11": of_fields(lambda fields: fields["amount"].update(maximum=11)),
    "`maximum` changed from 10 to none": of_fields(lambda fields: fields["amount"].pop("maximum")),
    "`minItems` changed from 1 to 0": of_fields(lambda fields: fields["items"].update(minItems=0)),
    "`pattern` was removed": of_fields(lambda fields: fields["id"].pop("pattern")),
    "the values poor were added": copy.deepcopy(SCHEMA),
    "any value is allowed now": of_fields(lambda fields: fields["reason"].pop("enum")),
}


def changes(new: Schema, old: Schema = SCHEMA) -> list[Change]:
    """Return the changes of a schema at the place `sold`."""
    return list(schema_changes(old, new, "sold"))


@pytest.mark.parametrize("what", BREAKING)
def test_a_breaking_change_has_a_reason(what: str) -> None:
    """The change is found once, and its line says what breaks."""
    [found] = changes(BREAKING[what])

    assert what == found.what
    assert found.is_breaking
    assert f"(breaking: {found.breaks})" in str(found)


@pytest.mark.parametrize("what", COMPATIBLE)
def test_a_compatible_change_says_what_to_do(what: str) -> None:
    """The change is found once, and its line says what to heed."""
    narrow = of_fields(lambda fields: fields["reason"].update(enum=["late"]))
    [found] = changes(COMPATIBLE[what], narrow) if "poor" in what else changes(COMPATIBLE[what])

    assert what == found.what
    assert not found.is_breaking
    assert f"(compatible: {found.note})" in str(found)


def test_a_requirement_without_a_property_is_a_field() -> None:
    """`required` alone rejects every old event."""
    added, [optional] = changes(require(*SCHEMA["required"], "tenant")), changes(SCHEMA, require("id"))[:1]

    assert [("sold.tenant", "a required field was added", True)] == [
        (each.place, each.what, each.is_breaking) for each in added
    ]
    assert optional.is_breaking


def test_a_closed_reader_rejects_an_optional_field() -> None:
    """Readers that allow no unknown field fail with the new events."""
    closed = {**copy.deepcopy(SCHEMA), "additionalProperties": False}
    more = {**of_fields(lambda fields: fields.update(tax={"type": "integer"})), "additionalProperties": False}

    assert [True] == [each.is_breaking for each in changes(more, closed)]


def test_values_are_compared_as_json() -> None:
    """1 and true are two values, and an empty text is one."""

    def values(*listed: Any) -> Schema:
        return {"enum": list(listed)}

    assert ['the values "" were removed'] == [each.what for each in changes(values("x"), values("", "x"))]
    assert ["the values 1 were removed", "the values true were added"] == [
        each.what for each in changes(values(True), values(1))
    ]
    assert ["`const` changed from 1 to True"] == [each.what for each in changes({"const": True}, {"const": 1})]


def test_the_same_schema_in_another_form_has_no_changes() -> None:
    """A type may be a list, and `{}` allows any further field."""
    assert [] == changes({"type": ["string"]}, {"type": "string"})
    assert [] == changes({"type": ["null", "string"]}, {"type": ["string", "null"]})
    assert [] == changes({**copy.deepcopy(SCHEMA), "additionalProperties": {}})
    assert [] == changes({"type": "string", "default": "a", "deprecated": True}, {"type": "string"})


def test_equal_schemas_have_no_changes() -> None:
    """A change of a text, or of the sequence of fields, is none."""
    described = of_fields(lambda fields: fields["id"].update(description="new", title="Id", examples=["abc"]))

    assert [] == changes(copy.deepcopy(SCHEMA))
    assert [] == changes({**described, "required": SCHEMA["required"][::-1]})


def test_a_change_within_a_list_names_its_place() -> None:
    """The place leads to the field."""
    new = of_fields(lambda fields: fields["items"]["items"]["properties"]["sku"].update(maxLength=5))

    assert ["sold.items[].sku"] == [each.place for each in changes(new)]


@pytest.mark.parametrize(
    ("new", "breaks"),
    [
        ({}, True),
        ({"Bought": TOPICS["Sold"]}, True),
        ({"Sold": {**TOPICS["Sold"], "publisher": "shop"}}, True),
        ({"Sold": {**TOPICS["Sold"], "component": "mailbus"}}, True),
        ({"Sold": {**TOPICS["Sold"], "consumers": []}}, False),
        ({"Sold": {**TOPICS["Sold"], "consumers": ["book", "mail"]}}, False),
        ({**TOPICS, "Bought": TOPICS["Sold"]}, False),
    ],
)
def test_a_change_of_the_topics_is_classified(new: dict[str, Any], breaks: bool) -> None:
    """A renamed topic is a removed one and a new one."""
    found = list(topic_changes(TOPICS, new, {}, "topics.json"))

    assert breaks == any(change.is_breaking for change in found)
    assert found


def test_a_retired_topic_may_be_removed() -> None:
    """The reason is part of the line."""
    [found] = topic_changes(TOPICS, {}, {"Sold": "replaced by Bought in 0.3.0"}, "topics.json")

    assert not found.is_breaking
    assert "retired: replaced by Bought in 0.3.0" in str(found)
