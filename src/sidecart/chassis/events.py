"""CloudEvents 1.0 as bytes in and bytes out, and ids that identify repeated events."""

from __future__ import annotations

import uuid
from collections.abc import Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.reply_topics import is_requester

E = TypeVar("E")

CONTENT_TYPE = "application/cloudevents+json"
BODY_BYTES_MAX = 1024 * 1024  # a whole event
REPLAY = "replay"
"""The attribute of an event that a tool published again from a dead letter."""


class Envelope(msgspec.Struct):
    """The attributes that the chassis reads of an incoming CloudEvent.

    `data` stays encoded until it is needed.
    """

    id: str
    type: str
    correlationid: str
    data: msgspec.Raw
    source: str = ""
    subject: str = ""
    replyto: str = ""
    """The gateway that waits for the reply to the initial command; empty for a shared reply."""


class _Replay(msgspec.Struct):
    replay: str = ""


class _Delivery(msgspec.Struct):
    """The body of a raw delivery, which wraps the message.

    The sidecar invents its other attributes.
    """

    data_base64: bytes


class CloudEvent(msgspec.Struct, kw_only=True):
    """A CloudEvent that the chassis publishes.

    It is always a complete CloudEvent, so that `correlationid` passes the sidecar unchanged.
    """

    specversion: str = "1.0"
    id: str
    type: str
    source: str
    subject: str
    correlationid: str
    time: str
    datacontenttype: str = "application/json"
    data: msgspec.Raw
    replyto: str | msgspec.UnsetType = msgspec.UNSET
    traceid: str | msgspec.UnsetType = msgspec.UNSET  # both or neither: see src/sidecart/chassis/telemetry/spans.py
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Received(Generic[E]):
    """One event as a step receives it.

    It holds the decoded data, the event's id, the id of the initial command, the time of receipt
    (UTC), and the gateway that waits for the reply (empty: none has an address).
    """

    event: E
    id: str
    correlation_id: str
    at: datetime
    reply_to: str = ""


def delivered(body: bytes) -> bytes:
    """Return the message that a sidecar delivers, byte for byte as the broker stores it.

    The message may be any bytes. A body without `data_base64` is the message itself: a sidecar that
    parses messages delivers it so.
    """
    try:
        return msgspec.json.decode(body, type=_Delivery).data_base64
    except (ValueError, RecursionError):
        return body


def is_replay(body: bytes) -> bool:
    """Return whether an event is the replay of a dead letter."""
    if b'"replay"' not in body:  # almost every event; this takes less than decoding it
        return False
    try:
        return bool(msgspec.json.decode(body, type=_Replay).replay)
    except (ValueError, RecursionError):
        return False


def parse(topic: str, body: bytes, publisher: str, types: Set[str] | None = None) -> Envelope:
    """Parse the envelope of an event; `types` are the event types of a reply topic.

    On every other topic the type is the topic. Raise PermanentError if the event is too large, or
    is not a CloudEvent of this topic and this publisher with UUIDs as ids.
    """
    if len(body) > BODY_BYTES_MAX:
        raise PermanentError(f"the event has {len(body)} bytes, more than {BODY_BYTES_MAX}")
    try:
        envelope = msgspec.json.decode(body, type=Envelope)
        uuid.UUID(envelope.id)
        uuid.UUID(envelope.correlationid)
    except (ValueError, RecursionError) as error:  # includes msgspec's and Unicode errors
        raise PermanentError("not a CloudEvent", str(error)) from error
    if envelope.type != topic if types is None else envelope.type not in types:
        raise PermanentError(f"unexpected event type on topic {topic!r}", repr(envelope.type[:100]))
    if envelope.source != publisher:
        raise PermanentError(
            f"the source is not {publisher!r}, the publisher of {topic!r}", repr(envelope.source[:100])
        )
    if envelope.replyto and not is_requester(envelope.replyto):
        raise PermanentError("the reply address is no gateway", repr(envelope.replyto[:100]))
    return envelope


def decode(envelope: Envelope, kind: type[E], at: datetime) -> Received[E]:
    """Decode the data as `kind`, ignoring unknown fields.

    Raise PermanentError for a missing or wrong field.
    """
    try:
        event = msgspec.json.decode(envelope.data, type=kind)
    except (ValueError, RecursionError) as error:
        raise PermanentError("malformed data", str(error)) from error
    return Received(event, envelope.id, envelope.correlationid, at, envelope.replyto)


def derived_id(input_id: str, source: str, kind: str, position: int) -> str:
    """Return the id of output number `position` of the event `input_id`.

    It is a UUID of version 5, and the same at every repetition.
    """
    return str(uuid.uuid5(uuid.UUID(input_id), f"{source}{kind}{position}"))


def now() -> datetime:
    """Return the current time in UTC; an app has no other clock."""
    return datetime.now(UTC)


def timestamp(at: datetime) -> str:
    """Format a time as RFC 3339 in UTC with milliseconds, ending in Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
