"""CloudEvents: what is read, what is refused, and the ids that repeat."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from chassis.errors import PermanentError
from chassis.events import BODY_BYTES_MAX, Received, decode, derived_id, parse, timestamp

ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
WHY = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
AT = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)


@dataclass(frozen=True, slots=True)
class Lamp:
    """A fact to decode."""

    colour: str
    watts: int = 5


def event(**changes: Any) -> bytes:
    """The bytes of a lamp's event; a change of None takes the attribute away."""
    whole = {"id": ID, "type": "Lamp", "correlationid": WHY, "subject": "s", "data": {"colour": "red"}, **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def test_an_event_is_read_with_its_ids_and_time_of_receipt() -> None:
    """What a step sees of it."""
    received = decode(parse("Lamp", event()), Lamp, AT)

    assert Received(Lamp("red"), ID, WHY, AT) == received


def test_unknown_attributes_and_fields_are_ignored() -> None:
    """A sender may add some; the data is not even decoded before somebody wants it."""
    body = event(topic="Lamp", traceparent="", pubsubname="pubsub", data={"colour": "red", "shade": 7})

    assert Lamp("red") == decode(parse("Lamp", body), Lamp, AT).event


def test_the_subject_may_be_missing() -> None:
    """Nobody decides anything by it."""
    envelope = parse("Lamp", event(subject=None))

    assert "" == envelope.subject


@pytest.mark.parametrize(
    "body",
    [
        event(id=None),
        event(id=7),
        event(id="not-a-uuid"),
        event(type=None),
        event(type="Other"),
        event(correlationid=None),
        event(correlationid="not-a-uuid"),
        event(data=None),
        event()[:-1],
        event() + b"}",
        b"[]",
        b"null",
        b'{"id": "\xff"}',
        event().replace(b"red", b"\xff"),
        event().replace(b'"s"', b'"\\ud800"'),
        event().replace(b'"red"', b"NaN"),
        event().replace(b'"red"', b"[" * 50_000 + b"]" * 50_000),
    ],
)
def test_what_is_not_a_cloud_event_of_the_topic_is_a_permanent_error(body: bytes) -> None:
    """Missing, of another type, no UUID, not JSON, not UTF-8, absurdly deep: never a retry."""
    with pytest.raises(PermanentError):
        decode(parse("Lamp", body), Lamp, AT)


def test_the_bound_on_a_whole_event_is_exact() -> None:
    """The last allowed byte is read, one more is refused."""
    body = event()
    largest = body + b" " * (BODY_BYTES_MAX - len(body))

    assert ID == parse("Lamp", largest).id
    with pytest.raises(PermanentError, match=str(BODY_BYTES_MAX + 1)):
        parse("Lamp", largest + b" ")


@pytest.mark.parametrize("data", [{}, {"colour": 7}, {"colour": None}, {"colour": "red", "watts": 1.5}, [], "red"])
def test_data_of_another_shape_is_a_permanent_error(data: Any) -> None:
    """A missing or wrong field is named in the reason; a log does not quote it."""
    with pytest.raises(PermanentError, match=r"^malformed data$") as raised:
        decode(parse("Lamp", event(data=data)), Lamp, AT)
    assert raised.value.reason.startswith("malformed data: ")


def test_a_type_that_goes_on_and_on_is_cut_in_the_reason() -> None:
    """Reasons are kept and logged."""
    with pytest.raises(PermanentError) as refused:
        parse("Lamp", event(type="x" * 10_000))

    assert 10 < len(refused.value.reason) < 200


def test_a_derived_id_repeats() -> None:
    """It is a UUID of version 5 over what the wire's rules say, so that any language can make it."""
    assert "28a85d50-f931-5ca4-a2ba-6996e77348cd" == derived_id(ID, "lamps", "Lit", 0)


@pytest.mark.parametrize("other", [(WHY, "s", "K", 0), (ID, "t", "K", 0), (ID, "s", "L", 0), (ID, "s", "K", 1)])
def test_a_derived_id_differs_with_each_of_its_parts(other: tuple[str, str, str, int]) -> None:
    """Two outputs are never taken for one."""
    assert derived_id(ID, "s", "K", 0) != derived_id(*other)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (AT, "2026-01-02T03:04:05.678Z"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00.000Z"),
        (datetime(2026, 1, 2, 1, tzinfo=timezone(timedelta(hours=2))), "2026-01-01T23:00:00.000Z"),
    ],
)
def test_a_timestamp_is_in_utc_with_milliseconds(at: datetime, expected: str) -> None:
    """RFC 3339, ending in Z, wherever the clock stands."""
    assert expected == timestamp(at)
