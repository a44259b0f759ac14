"""The sidecar's gRPC API: records and events as bytes, over a small HTTP/2 client.

daprd neither decodes nor encodes a record or an event. It adds nothing to an event: a subscriber
finds no `topic`, `pubsubname` or `traceid` that the publisher did not set. Reads of other services
stay on HTTP/1.1, because daprd announces the removal of its method InvokeService.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from dapr.proto.runtime.v1.state_pb2 import (
    GetBulkStateRequest,
    GetBulkStateResponse,
    GetStateResponse,
)

from sidecart.chassis import grpc_requests
from sidecart.chassis.connections import Answer
from sidecart.chassis.http2.call import OK, Reply
from sidecart.chassis.http2.channel import Channel
from sidecart.chassis.http2.errors import BrokenOff, NotConnected
from sidecart.chassis.http2.header_blocks import RequestHead
from sidecart.chassis.http_api import HttpApi
from sidecart.chassis.settings import in_url
from sidecart.chassis.sidecar_api import (
    BULK_PARALLELISM,
    CALL_SECONDS_MAX,
    STORE,
    BulkAnswer,
    failed_call,
)

METHOD = "/dapr.proto.runtime.v1.Dapr/"
DONE = Answer(204, b"")
STATUSES = {3: 400, 5: 404, 7: 403, 8: 429, 10: 409, 12: 501, 14: 503, 16: 401}
"""Codes of gRPC as statuses of HTTP; any other one is 500. ABORTED (10) is a lost race."""


class GrpcApi:
    """Calls over two connections: a broker that blocks publishes must not block state."""

    def __init__(self, host: str, port: int, http_port: int, token: str) -> None:
        secrets = {"dapr-api-token": token} if token else {}
        authority = f"{in_url(host)}:{port}"
        self._state = Channel(host, port, authority, secrets)
        self._publishes = Channel(host, port, authority, secrets)
        self._get, self._get_many, self._save, self._publish = (
            self._state.head(f"{METHOD}{name}") for name in ("GetState", "GetBulkState", "SaveState", "PublishEvent")
        )
        self._http = HttpApi(host, http_port, token)

    async def get(self, key: str, seconds_max: float = CALL_SECONDS_MAX) -> Answer:
        """Load a record."""
        reply = await self._call("GetState", self._get, grpc_requests.get(key), seconds_max, is_idempotent=True)
        if reply.code != OK:
            return _refused(reply)
        found = GetStateResponse.FromString(reply.message)
        return Answer(200, found.data, found.etag)

    async def get_many(self, keys: Sequence[str]) -> BulkAnswer:
        """Load several records."""
        request = GetBulkStateRequest(store_name=STORE, keys=keys, parallelism=BULK_PARALLELISM).SerializeToString()
        reply = await self._call("GetBulkState", self._get_many, request, CALL_SECONDS_MAX, is_idempotent=True)
        if reply.code != OK:
            answer = _refused(reply)
            return BulkAnswer(answer.status, answer.body)
        found = GetBulkStateResponse.FromString(reply.message).items
        return BulkAnswer(
            200,
            b"",
            values={item.key: item.data for item in found},
            errors={item.key: item.error for item in found if item.error},
        )

    async def put(self, key: str, value: bytes, etag: str | None, ttl_seconds: int | None) -> Answer:
        """Write a record of any bytes."""
        request = grpc_requests.save(key, value, etag, ttl_seconds)
        reply = await self._call("SaveState", self._save, request, CALL_SECONDS_MAX)
        return DONE if reply.code == OK else _refused(reply)

    async def put_probe(self, seconds_max: float) -> Answer:
        """Write the probe record."""
        reply = await self._call("SaveState", self._save, grpc_requests.PROBE, seconds_max)
        return DONE if reply.code == OK else _refused(reply)

    async def publish(self, component: str, topic: str, event: bytes, seconds_max: float, traceparent: str) -> Answer:
        """Publish the bytes of an event."""
        request = grpc_requests.publish(component, topic, event)
        head = self._publish.plus("traceparent", traceparent) if traceparent else self._publish
        what = f"publish to {topic}"
        reply = await self._call(what, head, request, seconds_max, channel=self._publishes)
        return DONE if reply.code == OK else _refused(reply)

    async def invoke(self, app_id: str, path: str, seconds_max: float, traceparent: str = "") -> Answer:
        """GET a path of another service, over HTTP/1.1."""
        return await self._http.invoke(app_id, path, seconds_max, traceparent)

    async def metadata(self, seconds_max: float) -> Answer:
        """Return what the sidecar reports about itself, over HTTP/1.1."""
        return await self._http.metadata(seconds_max)

    async def ping(self, seconds_max: float) -> None:
        """Load no records, which daprd answers without its store."""
        request = GetBulkStateRequest(store_name=STORE).SerializeToString()
        await self._call("GetBulkState of no keys", self._get_many, request, seconds_max, is_idempotent=True)

    def close(self) -> None:
        """Close the connections."""
        for each in (self._state, self._publishes, self._http):
            each.close()

    async def _call(
        self,
        what: str,
        head: RequestHead,
        request: bytes,
        seconds_max: float,
        *,
        is_idempotent: bool = False,
        channel: Channel | None = None,
    ) -> Reply:
        try:
            return await (channel or self._state).call(head, request, seconds_max, is_idempotent=is_idempotent)
        except (NotConnected, BrokenOff, TimeoutError) as error:
            raise failed_call(what, error, seconds_max) from error


def _refused(reply: Reply) -> Answer:
    """Return an error in the form of the HTTP API, so that both have the same readers."""
    body = msgspec.json.encode({"errorCode": f"GRPC_{reply.code}", "message": reply.text})
    return Answer(STATUSES.get(reply.code, 500), body)
