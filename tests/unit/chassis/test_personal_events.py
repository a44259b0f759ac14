"""An event counts as another person's only if it is complete and names the other one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecart.chassis.personal_events import is_of_another, names

PERSON, OTHER = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"


def escaped(text: str) -> str:
    """Return a text with a JSON escape in place of each character."""
    return "".join(f"\\u{ord(each):04X}" for each in text)


def event(reader_id: Any = OTHER, **data: Any) -> bytes:
    """Return an event about this reader."""
    return json.dumps({"data": {"reader_id": reader_id, "address": "a@b.c"} | data}).encode()


@pytest.mark.parametrize(
    "body",
    [
        event(PERSON),
        event(PERSON.upper()),
        event("{" + PERSON.replace("-", "") + "}"),
        event().replace(OTHER.encode(), escaped(PERSON).encode()),
        event(more=json.dumps({"inner": escaped(PERSON)})),
        event(more=[PERSON]),
        b"\xff" + event(PERSON),
        event(PERSON).decode().encode("utf-16"),
        PERSON.encode(),
    ],
)
def test_an_id_is_found_in_any_spelling(body: bytes) -> None:
    """A publisher that does not follow the contract may write it in each of these ways."""
    assert names(body, PERSON)
    assert not is_of_another(body, PERSON, "reader_id")


@pytest.mark.parametrize(
    "body",
    [
        event(None),
        event(""),
        event("no UUID"),
        event([OTHER]),
        event(7),
        event()[:-1],
        b"\xff" + event(),
        b"",
        b"[]",
        b"{}",
        b'{"data": []}',
        b'{"data": {"another_id": "%s"}}' % OTHER.encode(),
        pytest.param(b'{"data": %s' % (b"[" * 100_000), id="deep"),
    ],
)
def test_an_event_without_a_person_is_not_of_another(body: bytes) -> None:
    """It is cut, no event, or its field has no id: it may be that of any person."""
    assert not names(body, PERSON)
    assert not is_of_another(body, PERSON, "reader_id")


@pytest.mark.parametrize("spelling", [OTHER, OTHER.upper(), escaped(OTHER)])
def test_an_event_of_another_person_is_recognized(spelling: str) -> None:
    """It may still be replayed."""
    body = event().replace(OTHER.encode(), spelling.encode())

    assert is_of_another(body, PERSON, "reader_id")
