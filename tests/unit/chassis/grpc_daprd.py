"""The gRPC API of the fake daprd: each request becomes the same request of the HTTP API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web
from dapr.proto.common.v1.common_pb2 import StateItem, StateOptions
from dapr.proto.runtime.v1.pubsub_pb2 import PublishEventRequest
from dapr.proto.runtime.v1.state_pb2 import (
    BulkStateItem,
    GetBulkStateRequest,
    GetBulkStateResponse,
    GetStateRequest,
    GetStateResponse,
    SaveStateRequest,
)

from tests.unit.chassis.http2.h2_server import Request

if TYPE_CHECKING:
    from tests.unit.chassis.daprd import Daprd

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10}


def call_of(method: str, message: bytes) -> tuple[str, str, str, bytes]:
    """Return method, path, content type and body of the same call over HTTP."""
    match method:
        case "GetState":
            key = GetStateRequest.FromString(message).key
            return "GET", f"/v1.0/state/statestore/{quote(key, safe='')}", "application/json", b""
        case "GetBulkState":
            body = {"keys": list(GetBulkStateRequest.FromString(message).keys)}
            return "POST", "/v1.0/state/statestore/bulk", "application/json", json.dumps(body).encode()
        case "SaveState":
            items = [item_of(each) for each in SaveStateRequest.FromString(message).states]
            return "POST", "/v1.0/state/statestore", "application/json", json.dumps(items).encode()
    event = PublishEventRequest.FromString(message)
    assert "PublishEvent" == method
    assert {"rawPayload": "true"} == dict(event.metadata)
    return "POST", f"/v1.0/publish/{event.pubsub_name}/{event.topic}", "application/cloudevents+json", event.data


def item_of(item: StateItem) -> dict[str, Any]:
    """Return a write in the form of the HTTP API."""
    first_write = item.options.concurrency == StateOptions.CONCURRENCY_FIRST_WRITE
    return {
        "key": item.key,
        "value": json.loads(item.value),
        **({"options": {"concurrency": "first-write"}} if first_write else {}),
        **({"etag": item.etag.value} if item.HasField("etag") else {}),
        **({"metadata": dict(item.metadata)} if item.metadata else {}),
    }


def message_of(method: str, response: web.Response) -> bytes:
    """Return the message of a successful response."""
    body = response.body if isinstance(response.body, bytes) else b""
    if method == "GetState":
        return bytes(GetStateResponse(data=body, etag=response.headers.get("ETag", "")).SerializeToString())
    if method == "GetBulkState":
        items = [
            BulkStateItem(
                key=each["key"],
                data=json.dumps(each["data"]).encode() if "data" in each else b"",
                etag=each.get("etag", ""),
                error=each.get("error", ""),
            )
            for each in json.loads(body)
        ]
        return bytes(GetBulkStateResponse(items=items).SerializeToString())
    return b""


class GrpcFront:
    """Answers requests of gRPC for a fake daprd."""

    def __init__(self, fake: Daprd) -> None:
        self._fake = fake

    async def answer(self, request: Request) -> None:
        """Answer one call."""
        headers = {str(name): str(value) for name, value in request.headers}
        method = headers[":path"].rpartition("/")[2]
        token, trace = headers.get("dapr-api-token"), headers.get("traceparent")
        verb, path, content_type, body = call_of(method, request.message)
        if self._fake.hangs_up:
            request.peer.close()
        response = await self._fake.handle(verb, path, token, content_type, body, trace)
        if self._fake.hangs_up or self._fake.has_stopped:
            return
        if response.status < 300:
            request.reply(message_of(method, response))
        else:
            request.refuse(CODES.get(response.status, 13), quote(text_of(response)))


def text_of(response: web.Response) -> str:
    """Return the message of an error."""
    body = response.body if isinstance(response.body, bytes) else b""
    return str(json.loads(body).get("message", "")) if body.startswith(b"{") else body.decode()
