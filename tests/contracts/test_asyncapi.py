"""The AsyncAPI document accepts the same events as contracts/, in both JSON Schema drafts."""

from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.protocols import Validator

from gateway.app import SHOP
from sidecart.edge import asyncapi
from sidecart.launcher.topics import read_topics
from tests.contracts.mutations import mutations
from tests.contracts.validate import FORMATS, examples, optional_fields

DOCUMENT = asyncapi.document(SHOP, "1")
DRAFTS = (Draft7Validator, Draft202012Validator)
"""AsyncAPI reads schemas as draft 07; the schemas in contracts/ use 2020-12."""


def validator(draft: type[Validator], topic: str) -> Validator:
    """Return a validator for the payload of a topic in the document."""
    payload = DOCUMENT["components"]["messages"][topic]["payload"]
    return draft({**payload, "components": DOCUMENT["components"]}, format_checker=FORMATS)


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.__name__)
@pytest.mark.parametrize("topic", read_topics())
def test_the_document_has_the_examples_of_contracts_and_they_are_valid(topic: str, draft: type[Validator]) -> None:
    """Each example of a topic is in the document and valid by the document's own schema."""
    documented = {each["name"]: each["payload"] for each in DOCUMENT["components"]["messages"][topic]["examples"]}

    assert examples(topic) == documented
    assert [] == [
        error.message for event in documented.values() for error in validator(draft, topic).iter_errors(event)
    ]


@pytest.mark.parametrize("draft", DRAFTS, ids=lambda draft: draft.__name__)
@pytest.mark.parametrize("topic", read_topics())
def test_a_mutation_of_any_field_is_refused(topic: str, draft: type[Validator]) -> None:
    """The schema in the document refuses every mutation, so it lost no field and no bound.

    Only an optional field may be missing.
    """
    event: dict[str, Any] = next(iter(examples(topic).values()))
    judge = validator(draft, topic)
    optional = optional_fields("schemas", topic)
    mutants = [each for each in mutations(event) if each.way != "missing" or each.field not in optional]

    assert mutants
    assert [] == [f"{each.field} {each.way}" for each in mutants if judge.is_valid(each.value)]
