"""The schemas of the HTTP responses accept their examples and refuse every mutation."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.mutations import mutations
from tests.contracts.validate import CONTRACTS, http_problems, is_valid, optional_fields

EXAMPLES = [
    pytest.param(path.stem, body, id=f"{path.stem}-{number}")
    for path in sorted((CONTRACTS / "http").iterdir())
    for number, body in enumerate(json.loads(path.read_text("utf-8")).get("examples", ()))
]
EMPTY_ALLOWED = {"notifications.notifications", "unfinished.unfinished", "ready.missing", "problem.errors.pointer"}
ANY_TEXT = {"ready.missing", "problem.title", "problem.detail", "problem.errors.detail", "problem.errors.pointer"}


@pytest.mark.parametrize("path", sorted((CONTRACTS / "http").iterdir()), ids=lambda path: path.stem)
def test_each_schema_has_examples(path: Path) -> None:
    """The tests of this module need them, and the documents show them."""
    assert json.loads(path.read_text("utf-8")).get("examples"), f"contracts/http/{path.name}: no examples"


@pytest.mark.parametrize(("name", "body"), EXAMPLES)
def test_an_example_is_valid_and_an_extra_field_is_found(name: str, body: dict[str, Any]) -> None:
    """A response with a field outside its schema, such as an internal field of a record, fails."""
    assert [] == http_problems(name, body)
    assert http_problems(name, {**body, "command_id": "x"})


@pytest.mark.parametrize(("name", "body"), EXAMPLES)
def test_a_mutation_of_an_answer_is_refused(name: str, body: dict[str, Any]) -> None:
    """The schema refuses a missing or wrong field, except optional and free-text fields."""
    refused: Counter[str] = Counter()
    let_through = []
    for mutation in mutations(body):
        if _is_fine(name, mutation.field, mutation.way, mutation.value):
            continue
        refused[mutation.field] += 1
        if is_valid(CONTRACTS / "http" / f"{name}.json", mutation.value):
            let_through.append(f"{mutation.field} {mutation.way}: {str(mutation.value)[:300]}")

    assert [] == let_through
    assert set(body) <= set(refused)


def _is_fine(name: str, field: str, way: str, value: Any) -> bool:
    """Return whether the response is valid after a mutation of this field."""
    if way == "missing":
        return field in optional_fields("http", name)
    if name == "export":  # each part is the answer of another read
        part, _, field = field.partition(".")
        if part == "notification" and field:
            name, value = "notifications", value["notification"]
    field = f"{name}.{field}"
    if field in ANY_TEXT and way == "value":
        return True
    if field == "ready.missing":
        return value["missing"] in ([], ["1"])
    if field in EMPTY_ALLOWED:
        return value.get("notifications", value.get("unfinished")) == [] or way == "value"
    return field == "notifications.notifications.sent_at" and value["notifications"][0]["sent_at"] is None
