"""Each schema refuses an event of which any one field is missing, of another type, or of a wrong value."""

from collections import Counter
from typing import Any

import pytest

from cli.topics import TOPICS
from tests.contracts.mutations import mutations
from tests.contracts.validate import CONTRACTS, examples, is_valid, schema_problems

EXAMPLES = [
    pytest.param(topic, event, id=f"{topic}-{name}") for topic in TOPICS for name, event in examples(topic).items()
]


@pytest.mark.parametrize(("topic", "event"), EXAMPLES)
def test_a_mutation_of_any_field_is_refused(topic: str, event: dict[str, Any]) -> None:
    """Envelope, data, and what is nested in it: no broken field gets through, and each was broken in every way."""
    tried: Counter[tuple[str, str]] = Counter()
    let_through = []
    for mutation in mutations(event):
        tried[mutation.field, mutation.way] += 1
        if is_valid(CONTRACTS / "schemas" / f"{topic}.json", mutation.value):
            let_through.append(f"{mutation.field} {mutation.way}: {str(mutation.value)[:500]}")

    assert [] == let_through
    fields = set(event) | {f"data.{name}" for name in event["data"]}
    if "items" in event["data"]:
        fields |= {f"data.items.{name}" for name in ("sku", "quantity", "unit_price_cents")}
    assert fields == {field for field, _ in tried}
    assert all(tried[field, way] > 0 for field in fields for way in ("missing", "type", "value"))


@pytest.mark.parametrize("name", ["topic", "pubsubname", "traceid", "traceparent", "tracestate", "expiration"])
@pytest.mark.parametrize("wrong", [1, None, True, {}, []])
def test_what_the_sidecar_adds_is_text(name: str, wrong: object) -> None:
    """A trace id that is not a string would kill the sidecar of every subscriber."""
    event = {**examples("UserCreated")["typical"], name: wrong}

    assert [f"$.{name}: {wrong!r} is not of type 'string'"] == schema_problems("UserCreated", event)
