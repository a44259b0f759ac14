"""Each schema refuses an event with one field missing, of a wrong type, or of a wrong value."""

from collections import Counter
from typing import Any

import pytest

from sidecart.launcher.topics import read_topics
from tests.contracts.mutations import mutations
from tests.contracts.validate import CONTRACTS, examples, is_valid, optional_fields, schema_problems

EXAMPLES = [
    pytest.param(topic, event, id=f"{topic}-{name}")
    for topic in read_topics()
    for name, event in examples(topic).items()
]


@pytest.mark.parametrize(("topic", "event"), EXAMPLES)
def test_a_mutation_of_any_field_is_refused(topic: str, event: dict[str, Any]) -> None:
    """The schema refuses an event for every broken field of the envelope and the data.

    An event without an optional field is valid.
    """
    counts: Counter[tuple[str, str]] = Counter()
    let_through = []
    optional = optional_fields("schemas", topic)
    for mutation in mutations(event):
        counts[mutation.field, mutation.way] += 1
        if mutation.way == "missing" and mutation.field in optional:
            assert is_valid(CONTRACTS / "schemas" / f"{topic}.json", mutation.value)
            continue
        if is_valid(CONTRACTS / "schemas" / f"{topic}.json", mutation.value):
            let_through.append(f"{mutation.field} {mutation.way}: {str(mutation.value)[:500]}")

    assert [] == let_through
    fields = set(event) | {f"data.{name}" for name in event["data"]}
    for name, value in event["data"].items():
        if isinstance(value, list):
            fields |= {f"data.{name}.{each}" for entry in value for each in entry}
    assert fields == {field for field, _ in counts}
    assert all(counts[field, way] > 0 for field in fields for way in ("missing", "type", "value"))


@pytest.mark.parametrize("name", ["topic", "pubsubname", "traceid", "traceparent", "tracestate", "expiration"])
@pytest.mark.parametrize("wrong", [1, None, True, {}, []])
def test_the_attributes_of_the_sidecar_are_text(name: str, wrong: object) -> None:
    """A trace id that is not a string would crash the sidecar of every subscriber."""
    event = {**examples("UserCreated")["typical"], name: wrong}

    assert [f"$.{name}: {wrong!r} is not of type 'string'"] == schema_problems("UserCreated", event)
