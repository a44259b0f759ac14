"""Requests as bytes, against the protobuf library."""

from __future__ import annotations

from dapr.proto.common.v1.common_pb2 import Etag, StateItem, StateOptions
from dapr.proto.runtime.v1.pubsub_pb2 import PublishEventRequest
from dapr.proto.runtime.v1.state_pb2 import GetStateRequest, SaveStateRequest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecart.chassis import grpc_requests

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
SIZES = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2_097_152])
FIRST_WRITE = StateOptions(concurrency=StateOptions.CONCURRENCY_FIRST_WRITE)


@settings(deadline=None)
@given(TEXT, SIZES, st.none() | TEXT, st.none() | st.integers(0, 10**9))
def test_a_save_is_the_librarys(key: str, size: int, etag: str | None, ttl_seconds: int | None) -> None:
    """With any key, size, ETag and lifetime; an empty ETag is not an absent one."""
    value = b"v" * size
    item = StateItem(key=key, value=value, options=FIRST_WRITE)
    if etag is not None:
        item.etag.CopyFrom(Etag(value=etag))
    if ttl_seconds is not None:
        item.metadata["ttlInSeconds"] = str(ttl_seconds)

    found = SaveStateRequest.FromString(grpc_requests.save(key, value, etag, ttl_seconds))
    assert SaveStateRequest(store_name="statestore", states=[item]) == found


@settings(deadline=None)
@given(TEXT, TEXT, SIZES)
def test_a_load_and_a_publish_are_the_librarys(component: str, text: str, size: int) -> None:
    """With any component, key, topic and event."""
    event = b"e" * size
    published = PublishEventRequest(pubsub_name=component, topic=text, data=event, metadata={"rawPayload": "true"})

    found = GetStateRequest.FromString(grpc_requests.get(text))
    assert GetStateRequest(store_name="statestore", key=text) == found
    assert published == PublishEventRequest.FromString(grpc_requests.publish(component, text, event))
