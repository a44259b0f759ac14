"""CloudEvents 1.0 as bytes in and bytes out, and the ids that make a repeated event the same event."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from chassis.errors import PermanentError

E = TypeVar("E")

CONTENT_TYPE = "application/cloudevents+json"
BODY_BYTES_MAX = 1024 * 1024  # a whole event; the largest of ours (an order of 1,000 items) is a fifth of it


class Envelope(msgspec.Struct):
    """What we read of an incoming CloudEvent; the data stays undecoded until somebody wants it."""

    id: str
    type: str
    correlationid: str
    data: msgspec.Raw
    subject: str = ""


class _Delivery(msgspec.Struct):
    """What a sidecar makes of a message that it does not look into; the other attributes are its own inventions."""

    data_base64: bytes


class CloudEvent(msgspec.Struct, kw_only=True):
    """What we write: always whole, so that `correlationid` survives the sidecar."""

    specversion: str = "1.0"
    id: str
    type: str
    source: str
    subject: str
    correlationid: str
    time: str
    datacontenttype: str = "application/json"
    data: msgspec.Raw
    traceid: str | msgspec.UnsetType = msgspec.UNSET  # both, or neither: see chassis/spans.py
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Received(Generic[E]):
    """One event as a step sees it: the fact, the command that started it all, and when it reached us (UTC)."""

    event: E
    id: str
    correlation_id: str
    at: datetime


def delivered(body: bytes) -> bytes:
    """Return the message that a sidecar delivers, byte for byte as the broker keeps it: any bytes at all.

    A body without `data_base64` is the message itself: a sidecar that has parsed it delivers it so.
    """
    try:
        return msgspec.json.decode(body, type=_Delivery).data_base64
    except (ValueError, RecursionError):
        return body


def parse(topic: str, body: bytes) -> Envelope:
    """Read the envelope; raise PermanentError when it is not a CloudEvent of this topic with UUIDs for ids."""
    if len(body) > BODY_BYTES_MAX:
        raise PermanentError(f"the event has {len(body)} bytes, more than {BODY_BYTES_MAX}")
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        uuid.UUID(envelope.id)
        uuid.UUID(envelope.correlationid)
    except (ValueError, RecursionError) as error:  # msgspec's errors and bad UTF-8 are ValueErrors too
        raise PermanentError("not a CloudEvent", str(error)) from error
    if envelope.type != topic:
        raise PermanentError(f"another type on topic {topic!r}", envelope.type[:100])
    return envelope


def decode(envelope: Envelope, kind: type[E], at: datetime) -> Received[E]:
    """Decode the data as `kind`; unknown fields are ignored, a missing or wrong one is a permanent error."""
    try:
        event = msgspec.json.decode(envelope.data, type=kind)
    except (ValueError, RecursionError) as error:
        raise PermanentError("malformed data", str(error)) from error
    return Received(event=event, id=envelope.id, correlation_id=envelope.correlationid, at=at)


def derived_id(input_id: str, source: str, kind: str, position: int) -> str:
    """The id of the output number `position` of the event `input_id`: the same at every repetition."""
    return str(uuid.uuid5(uuid.UUID(input_id), f"{source}{kind}{position}"))


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC, milliseconds, ending in Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
