"""The frequent requests of the sidecar's gRPC API as bytes.

A message of protobuf may be put together from parts: the parser merges them. The constant parts are
encoded once by the protobuf library, and the fields that change are added to them. The library
takes 7 us for a save with its nested messages; this takes 2 us.
"""

from __future__ import annotations

from dapr.proto.common.v1.common_pb2 import Etag, StateItem, StateOptions
from dapr.proto.runtime.v1.pubsub_pb2 import PublishEventRequest
from dapr.proto.runtime.v1.state_pb2 import GetStateRequest, SaveStateRequest

from sidecart.chassis.sidecar_api import PROBE_KEY, STORE

LENGTH_DELIMITED = 2  # the wire type of texts, bytes and messages
SHORT = [bytes([size]) for size in range(128)]


def _tag(field_number: int) -> bytes:
    assert field_number < 16, "the tag has one byte"
    return bytes([field_number << 3 | LENGTH_DELIMITED])


KEY, VALUE, ETAG = (
    _tag(StateItem.KEY_FIELD_NUMBER),
    _tag(StateItem.VALUE_FIELD_NUMBER),
    _tag(StateItem.ETAG_FIELD_NUMBER),
)
ETAG_VALUE = _tag(Etag.VALUE_FIELD_NUMBER)
STATES = _tag(SaveStateRequest.STATES_FIELD_NUMBER)
LOADED_KEY = _tag(GetStateRequest.KEY_FIELD_NUMBER)
COMPONENT, TOPIC, DATA = (
    _tag(PublishEventRequest.PUBSUB_NAME_FIELD_NUMBER),
    _tag(PublishEventRequest.TOPIC_FIELD_NUMBER),
    _tag(PublishEventRequest.DATA_FIELD_NUMBER),
)

GET: bytes = GetStateRequest(store_name=STORE).SerializeToString()
SAVE: bytes = SaveStateRequest(store_name=STORE).SerializeToString()
FIRST_WRITE: bytes = StateItem(
    options=StateOptions(concurrency=StateOptions.CONCURRENCY_FIRST_WRITE)
).SerializeToString()
PUBLISH: bytes = PublishEventRequest(metadata={"rawPayload": "true"}).SerializeToString()
PROBE: bytes = SaveStateRequest(store_name=STORE, states=[StateItem(key=PROBE_KEY, value=b"1")]).SerializeToString()


def get(key: str) -> bytes:
    """Return a GetStateRequest."""
    return GET + _field(LOADED_KEY, key.encode())


def save(key: str, value: bytes, etag: str | None, ttl_seconds: int | None) -> bytes:
    """Return a SaveStateRequest of one first write."""
    item = _field(KEY, key.encode()) + _field(VALUE, value) + FIRST_WRITE
    if etag is not None:
        item += _field(ETAG, _field(ETAG_VALUE, etag.encode()))
    if ttl_seconds is not None:
        item += StateItem(metadata={"ttlInSeconds": str(ttl_seconds)}).SerializeToString()
    return SAVE + _field(STATES, item)


def publish(component: str, topic: str, event: bytes) -> bytes:
    """Return a PublishEventRequest, by which the event is stored as it is."""
    return PUBLISH + _field(COMPONENT, component.encode()) + _field(TOPIC, topic.encode()) + _field(DATA, event)


def _field(tag: bytes, content: bytes) -> bytes:
    size = len(content)
    return tag + (SHORT[size] if size < 128 else _varint(size)) + content


def _varint(number: int) -> bytes:
    found = []
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
