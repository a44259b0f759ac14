"""CloudEvents: accepted and rejected envelopes and data, and derived ids."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import BODY_BYTES_MAX, Received, decode, derived_id, is_replay, parse, timestamp

ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
CORRELATION_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b6"
AT = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)


@dataclass(frozen=True, slots=True)
class Lamp:
    """An event type."""

    color: str
    watts: int = 5


def event(**changes: Any) -> bytes:
    """Return an event with these changes; a change to None removes the attribute."""
    whole = {
        "id": ID,
        "type": "Lamp",
        "source": "lamps",
        "correlationid": CORRELATION_ID,
        "subject": "s",
        "data": {"color": "red"},
        **changes,
    }
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def test_an_event_is_read_with_its_ids_and_time_of_receipt() -> None:
    """A decoded event has its data, both ids and the time of receipt."""
    received = decode(parse("Lamp", event(), "lamps"), Lamp, AT)

    assert Received(Lamp("red"), ID, CORRELATION_ID, AT) == received


def test_unknown_attributes_and_fields_are_ignored() -> None:
    """Unknown attributes of the envelope and unknown fields of the data are ignored."""
    body = event(topic="Lamp", traceparent="", pubsubname="pubsub", data={"color": "red", "shade": 7})

    assert Lamp("red") == decode(parse("Lamp", body, "lamps"), Lamp, AT).event


def test_the_subject_may_be_missing() -> None:
    """A missing subject is an empty string."""
    envelope = parse("Lamp", event(subject=None), "lamps")

    assert "" == envelope.subject


def test_a_reply_address_goes_with_the_event() -> None:
    """Without one the reply is shared."""
    addressed = decode(parse("Lamp", event(replyto="gateway-19"), "lamps"), Lamp, AT)

    assert "gateway-19" == addressed.reply_to
    assert "" == decode(parse("Lamp", event(replyto=""), "lamps"), Lamp, AT).reply_to


def test_on_a_reply_topic_the_type_is_one_of_the_replies() -> None:
    """The name of the topic is none of them."""
    topic, types = "Replies-gateway-0-lamps", frozenset({"Lamp", "Shade"})

    assert "Lamp" == parse(topic, event(), "lamps", types).type
    for wrong in ("Other", topic):
        with pytest.raises(PermanentError, match="unexpected event type"):
            parse(topic, event(type=wrong), "lamps", types)
    with pytest.raises(PermanentError, match="the source"):
        parse(topic, event(source="strangers"), "lamps", types)


@pytest.mark.parametrize(
    "body",
    [
        event(id=None),
        event(replyto="gateway-20"),
        event(replyto="gateway-01"),
        event(replyto="gateway"),
        event(replyto="order-0"),
        event(replyto=["gateway-0"]),
        event(id=7),
        event(id="not-a-uuid"),
        event(type=None),
        event(type="Other"),
        event(correlationid=None),
        event(correlationid="not-a-uuid"),
        event(source=None),
        event(source="strangers"),
        event(source="Lamps"),
        event(source="lamps "),
        event(source=7),
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
def test_an_invalid_envelope_is_a_permanent_error(body: bytes) -> None:
    """A missing attribute, wrong type, wrong id, bad JSON or bad UTF-8 is a permanent error."""
    with pytest.raises(PermanentError):
        decode(parse("Lamp", body, "lamps"), Lamp, AT)


def test_the_bound_on_a_whole_event_is_exact() -> None:
    """An event of the maximum size is parsed; one more byte is a permanent error."""
    body = event()
    largest = body + b" " * (BODY_BYTES_MAX - len(body))

    assert ID == parse("Lamp", largest, "lamps").id
    with pytest.raises(PermanentError, match=str(BODY_BYTES_MAX + 1)):
        parse("Lamp", largest + b" ", "lamps")


@pytest.mark.parametrize("data", [{}, {"color": 7}, {"color": None}, {"color": "red", "watts": 1.5}, [], "red"])
def test_invalid_data_is_a_permanent_error(data: Any) -> None:
    """The reason names the missing or wrong field; the message for logs does not quote it."""
    with pytest.raises(PermanentError, match=r"^malformed data$") as raised:
        decode(parse("Lamp", event(data=data), "lamps"), Lamp, AT)
    assert raised.value.reason.startswith("malformed data: ")


def test_a_long_type_is_truncated_in_the_reason() -> None:
    """A long type is truncated, because the reason is stored and logged."""
    with pytest.raises(PermanentError) as raised:
        parse("Lamp", event(type="x" * 10_000), "lamps")

    assert 10 < len(raised.value.reason) < 200


def test_another_source_than_the_publisher_is_named_in_the_reason() -> None:
    """The log names the publisher only; the dead letter quotes the beginning of the source."""
    with pytest.raises(PermanentError, match=r"^the source is not 'lamps', the publisher of 'Lamp'$") as raised:
        parse("Lamp", event(source="stranger" * 100), "lamps")

    assert "strangerstranger" in raised.value.reason
    assert len(raised.value.reason) < 200


def test_a_derived_id_repeats() -> None:
    """A derived id is a UUID of version 5 by the rule in WIRE.md, the same in any language."""
    assert "28a85d50-f931-5ca4-a2ba-6996e77348cd" == derived_id(ID, "lamps", "Lit", 0)


@pytest.mark.parametrize(
    "other", [(CORRELATION_ID, "s", "K", 0), (ID, "t", "K", 0), (ID, "s", "L", 0), (ID, "s", "K", 1)]
)
def test_a_derived_id_differs_with_each_of_its_parts(other: tuple[str, str, str, int]) -> None:
    """A change of any part changes the derived id."""
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
    """A timestamp is RFC 3339 in UTC, ending in Z, for any time zone."""
    assert expected == timestamp(at)


@pytest.mark.parametrize(
    ("event", "is_one"),
    [
        (b'{"id":"1","replay":"true"}', True),
        (b'{"id":"1","replay":""}', False),
        (b'{"id":"1","replay":true}', False),
        (b'{"id":"1","data":{"replay":"true"}}', False),
        (b'{"replay"', False),
        (b'{"id":"1"}', False),
    ],
)
def test_a_replay_is_known_by_its_attribute(event: bytes, is_one: bool) -> None:
    """A field of the data with the same name is none."""
    assert is_one == is_replay(event)
