"""Each topic has a valid schema, and each schema accepts its examples."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecart.contracts.releases import undated
from sidecart.launcher.project import root
from sidecart.launcher.topics import read_topics
from tests.contracts.published import fields_of, reasons_of, required_fields_of
from tests.contracts.validate import CONTRACTS, canonical, examples, schema_problems, validate


def names(folder: str) -> list[str]:
    """Return the file names in a folder of contracts/."""
    return sorted(path.name for path in (CONTRACTS / folder).iterdir())


FILES = ["common.json", *(f"{folder}/{name}" for folder in ("schemas", "http") for name in names(folder))]


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_a_schema(file: str) -> None:
    """Each file names the metaschema of JSON Schema 2020-12 and is valid by it."""
    schema = json.loads((CONTRACTS / file).read_text("utf-8"))

    Draft202012Validator.check_schema(schema)

    assert Draft202012Validator.META_SCHEMA["$id"] == schema["$schema"]


def test_the_schemas_are_those_of_the_topic_list() -> None:
    """Every topic has a schema and examples, and there are no others."""
    assert sorted(read_topics()) == sorted(
        path.name.removesuffix(".json") for path in (CONTRACTS / "schemas").iterdir()
    )
    assert sorted(read_topics()) == sorted(path.name for path in (CONTRACTS / "examples").iterdir())


@pytest.mark.parametrize("topic", read_topics())
def test_the_fields_are_those_of_the_publisher(topic: str) -> None:
    """A schema has the fields that the publisher's code sends, and allows unknown ones.

    It requires those without a default. `source` is the publisher.
    """
    schema = json.loads((CONTRACTS / "schemas" / f"{topic}.json").read_text("utf-8"))["properties"]

    assert {"const": topic} == schema["type"]
    assert {"const": read_topics()[topic].publisher} == schema["source"]
    assert required_fields_of(topic) == schema["data"]["required"]
    assert fields_of(topic) == list(schema["data"]["properties"])
    assert schema["data"]["additionalProperties"] is True


@pytest.mark.parametrize("topic", read_topics())
def test_each_topic_has_valid_examples(topic: str) -> None:
    """Each topic has two examples or more, and they cover every reason of the publisher's code."""
    found = examples(topic)

    assert 2 <= len(found), f"contracts/examples/{topic}: {len(found)} examples; a topic needs two or more"
    assert {} == {name: wrong for name, event in found.items() if (wrong := validate(event, topic))}
    assert reasons_of(topic) == {event["data"].get("reason") for event in found.values()}


@pytest.mark.parametrize("topic", read_topics())
def test_unknown_fields_are_allowed(topic: str) -> None:
    """A schema accepts new fields of later versions and the attributes of the sidecar."""
    found = examples(topic)
    assert found, f"contracts/examples/{topic}: no examples"
    event = next(iter(found.values()))
    added = {"topic": topic, "pubsubname": "pubsub", "traceid": "", "traceparent": "", "tracestate": "", "new": [1]}

    assert [] == schema_problems(topic, {**event, **added, "data": {**event["data"], "new": {"x": None}}})


@pytest.mark.parametrize("topic", read_topics())
def test_an_optional_field_is_in_some_examples(topic: str) -> None:
    """One example of the topic has the field, and another lacks it."""
    optional = set(fields_of(topic)) - set(required_fields_of(topic))
    data = [event["data"] for event in examples(topic).values()]

    assert [] == [
        f"contracts/scenario.json: no flow gives a {topic} {word} {name}"
        for name in sorted(optional)
        for word, has in (("with", True), ("without", False))
        if all((name in each) != has for each in data)
    ]


def test_every_optional_field_says_since_when() -> None:
    """A reader learns which publishers may omit it."""
    assert [] == list(undated(root()))


def test_limits_are_inclusive() -> None:
    """The largest allowed value of each field is valid, and the next value is not."""
    event = examples("OrderCreateRequested")["typical"]

    def order(count: int = 1, **fields: object) -> dict[str, Any]:
        item = {"sku": "x", "quantity": 1, "unit_price_cents": 0, **fields}
        return {**event, "data": {**event["data"], "items": [item] * count}}

    allowed = [order(1000), order(sku="é" * 64), order(quantity=10_000), order(unit_price_cents=10**9)]
    refused = [order(1001), order(sku="é" * 65), order(quantity=10_001), order(unit_price_cents=10**9 + 1)]
    refused += [order(0), order(quantity=0), order(unit_price_cents=-1)]
    assert [] == [problem for each in allowed for problem in schema_problems("OrderCreateRequested", each)]
    assert [] == [each for each in refused if not schema_problems("OrderCreateRequested", each)]


def test_lengths_and_sums_are_bounded() -> None:
    """The name, address, balance and deposit amount have the limits of the topic list."""

    def change(topic: str, **fields: object) -> list[str]:
        event = examples(topic)["typical"]
        return schema_problems(topic, {**event, "data": {**event["data"], **fields}})

    address = "a" * 242 + "@example.com"
    assert [] == change("UserCreated", name="é" * 200, email=address)
    assert change("UserCreated", name="é" * 201)
    assert change("UserCreated", email=f"a{address}")
    assert [] == change("AccountDeposited", amount_cents=10**12 - 1, balance_cents=10**12 - 1)
    assert change("AccountDeposited", balance_cents=10**12)
    assert change("AccountDeposited", amount_cents=0)


def test_two_fields_that_contradict_each_other_are_found() -> None:
    """`validate` checks the rules beyond a schema: subject, sum, and the ids of commands."""
    order, created = examples("OrderCreateRequested")["typical"], examples("OrderCreated")["typical"]
    other = examples("OrderCreated")["edges"]

    assert ["type 'Nothing' is not in the topic list"] == validate({"type": "Nothing"})
    assert ["type 'OrderCreated' was published on topic 'OrderPaid'"] == validate(created, "OrderPaid")
    assert [f"subject {other['subject']} is not the order_id"] == validate({**created, "subject": other["subject"]})
    assert ["amount_cents 1 is not the sum of its items"] == validate(
        {**created, "data": {**created["data"], "amount_cents": 1}}
    )
    assert ["a command carries its own id as correlationid"] == validate({**order, "correlationid": other["id"]})
    data = {**order["data"], "items": other["data"]["items"]}
    assert validate({**order, "data": data})[0].startswith("the id of a command is uuid5(resource, canonical body)")


def test_a_canonical_body_is_sorted_tight_and_not_escaped() -> None:
    """Programs in all languages get the same bytes from the canonical form."""
    assert '{"a":[{"b":2,"é":"\\"\\\\\\n/"}],"z":0}' == canonical({"z": 0, "a": [{"é": '"\\\n/', "b": 2}]})
