"""The schemas of the AsyncAPI document let through what those of contracts/ do, by either draft of JSON Schema."""

from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.protocols import Validator

from cli.topics import TOPICS
from gateway import asyncapi
from tests.contracts.mutations import mutations
from tests.contracts.validate import FORMATS, examples

DOCUMENT = asyncapi.document("Sidecart", "1")
DRAFTS = (Draft7Validator, Draft202012Validator)
"""AsyncAPI reads schemas as draft 07; ours are written in 2020-12."""


def validator(draft: type[Validator], topic: str) -> Validator:
    """The validator of a topic's payload as the document has it."""
    payload = DOCUMENT["components"]["messages"][topic]["payload"]
    return draft({**payload, "components": DOCUMENT["components"]}, format_checker=FORMATS)


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.__name__)
@pytest.mark.parametrize("topic", TOPICS)
def test_its_examples_are_those_of_contracts_and_valid(topic: str, draft: type[Validator]) -> None:
    """Each of them, by the schema that stands in the document."""
    told = {each["name"]: each["payload"] for each in DOCUMENT["components"]["messages"][topic]["examples"]}

    assert examples(topic) == told
    assert [] == [error.message for event in told.values() for error in validator(draft, topic).iter_errors(event)]


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.__name__)
@pytest.mark.parametrize("topic", TOPICS)
def test_a_mutation_of_any_field_is_refused(topic: str, draft: type[Validator]) -> None:
    """No bound and no field got lost on the way into the document."""
    event: dict[str, Any] = next(iter(examples(topic).values()))
    judge = validator(draft, topic)
    tried = list(mutations(event))

    assert tried
    assert [] == [f"{each.field} {each.way}" for each in tried if judge.is_valid(each.value)]
