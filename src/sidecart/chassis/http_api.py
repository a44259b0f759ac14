"""The sidecar's HTTP API: JSON over HTTP/1.1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from sidecart.chassis.connections import Answer, Connections
from sidecart.chassis.events import CONTENT_TYPE
from sidecart.chassis.http2.errors import BrokenOff, NotConnected
from sidecart.chassis.sidecar_api import (
    BULK_PARALLELISM,
    CALL_SECONDS_MAX,
    PROBE_KEY,
    STORE,
    BulkAnswer,
    failed_call,
)

CONNECTIONS_MAX = 256
# Publishes use their own connections: a broker that blocks publishing must not block state and
# reads.
PUBLISHES_MAX = 256
FIRST_WRITE = {"concurrency": "first-write"}
STATE = f"/v1.0/state/{STORE}"
PROBE = msgspec.json.encode([{"key": PROBE_KEY, "value": 1}])


class HttpApi:
    """Calls over two pools of connections."""

    def __init__(self, host: str, port: int, token: str) -> None:
        headers = {"dapr-api-token": token} if token else {}
        self._connections = Connections(host, port, headers, CONNECTIONS_MAX)
        self._publishes = Connections(host, port, headers, PUBLISHES_MAX)

    async def get(self, key: str, seconds_max: float = CALL_SECONDS_MAX) -> Answer:
        """Load a record."""
        return await self.call("GET", f"{STATE}/{quote(key, safe='')}", seconds_max=seconds_max)

    async def get_many(self, keys: Sequence[str]) -> BulkAnswer:
        """Load several records."""
        request = msgspec.json.encode({"keys": keys, "parallelism": BULK_PARALLELISM})
        answer = await self.call("POST", f"{STATE}/bulk", request)
        found = msgspec.json.decode(answer.body, type=list[_BulkEntry]) if answer.status == 200 else []
        return BulkAnswer(
            answer.status,
            answer.body,
            values={entry.key: bytes(entry.data) for entry in found},
            errors={entry.key: entry.error for entry in found if entry.error},
        )

    async def put(self, key: str, value: bytes, etag: str | None, ttl_seconds: int | None) -> Answer:
        """Write a record, which must be JSON."""
        write: dict[str, Any] = {"key": key, "value": msgspec.Raw(value), "options": FIRST_WRITE}
        if etag is not None:
            write["etag"] = etag
        if ttl_seconds is not None:
            write["metadata"] = {"ttlInSeconds": str(ttl_seconds)}
        return await self.call("POST", STATE, msgspec.json.encode([write]))

    async def put_probe(self, seconds_max: float) -> Answer:
        """Write the probe record."""
        return await self.call("POST", STATE, PROBE, seconds_max=seconds_max)

    async def publish(self, component: str, topic: str, event: bytes, seconds_max: float, traceparent: str) -> Answer:
        """Publish a complete CloudEvent, which the sidecar parses."""
        path = f"/v1.0/publish/{component}/{topic}"
        return await self.call("POST", path, event, CONTENT_TYPE, seconds_max, traceparent, self._publishes)

    async def invoke(self, app_id: str, path: str, seconds_max: float, traceparent: str = "") -> Answer:
        """GET a path of another service."""
        full_path = f"/v1.0/invoke/{app_id}/method{path}"
        return await self.call("GET", full_path, seconds_max=seconds_max, traceparent=traceparent)

    async def metadata(self, seconds_max: float) -> Answer:
        """Return what the sidecar reports about itself."""
        return await self.call("GET", "/v1.0/metadata", seconds_max=seconds_max)

    async def ping(self, seconds_max: float) -> None:
        """Ask for the sidecar's health."""
        await self.call("GET", "/v1.0/healthz", seconds_max=seconds_max)

    def close(self) -> None:
        """Close the idle connections."""
        self._connections.close()
        self._publishes.close()

    async def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        seconds_max: float = CALL_SECONDS_MAX,
        traceparent: str = "",
        connections: Connections | None = None,
    ) -> Answer:
        """Send one request; raise SidecarUnavailable."""
        more_headers = f"traceparent: {traceparent}\r\n" if traceparent else ""
        pool = connections or self._connections
        try:
            return await pool.request(method, path, body, content_type, seconds_max, more_headers)
        except (NotConnected, BrokenOff, TimeoutError) as error:
            raise failed_call(f"{method} {path}", error, seconds_max) from error


class _BulkEntry(msgspec.Struct):
    key: str
    data: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""
