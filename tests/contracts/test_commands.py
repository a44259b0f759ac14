"""The User Service refuses every command that the schema refuses.

Any program with access to the broker can publish a command.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from services.user.events import INPUTS
from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import decode, parse
from tests.contracts.mutations import mutations
from tests.contracts.validate import CONTRACTS, examples, is_valid, optional_fields

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TOPIC = "UserCreateRequested"
ODD_BUT_FINE = ("zero\u200bwidth", "\ufeff", "Zoë 雪", "a  b")
ODD_AND_WRONG = ("\u3000", "\u2003 \u00a0", "a\x85b", "a\x9fb", "a\u2029b")


def take(event: dict[str, Any]) -> None:
    """Decode an event as the event processor does."""
    decode(parse(TOPIC, msgspec.json.encode(event), "gateway"), INPUTS[TOPIC], AT)


@pytest.mark.parametrize("name", examples(TOPIC))
def test_the_user_service_refuses_every_broken_field(name: str) -> None:
    """The service refuses a field that is missing, or has a wrong type, form or length."""
    event = examples(TOPIC)[name]
    take(event)
    let_through = []
    optional = optional_fields("schemas", TOPIC)
    for mutation in mutations(event["data"]):
        if mutation.way == "missing" and f"data.{mutation.field}" in optional:
            continue
        try:
            take(event | {"data": mutation.value})
        except PermanentError:
            continue
        let_through.append(f"{mutation.field} {mutation.way}: {str(mutation.value)[:200]}")

    assert [] == let_through


@pytest.mark.parametrize("text", [*ODD_BUT_FINE, *ODD_AND_WRONG], ids=ascii)
def test_schema_and_service_agree_on_odd_names(text: str) -> None:
    """Schema and service use Unicode's definition of whitespace."""
    event = examples(TOPIC)["typical"]
    odd = event | {"data": event["data"] | {"name": text}}

    assert (text in ODD_BUT_FINE) == is_valid(CONTRACTS / "schemas" / f"{TOPIC}.json", odd)
    if text in ODD_BUT_FINE:
        take(odd)
    else:
        with pytest.raises(PermanentError):
            take(odd)
