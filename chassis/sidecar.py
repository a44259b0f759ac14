"""The sidecar's HTTP API: state with ETags, publish, invoke."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from chassis import tracing
from chassis.connections import Answer, BrokenOff, Connections, NotConnected
from chassis.errors import Conflict, SidecarAway, TimedOut, Unreached
from chassis.events import CONTENT_TYPE
from chassis.settings import LOOPBACK

STORE = "statestore"
PUBSUB = "pubsub"  # everything is published here, and read by way of other components (ADR 12)
CALL_SECONDS_MAX = 10.0  # one state or publish call; longer than a store's failover pause, shorter than the redelivery
CONNECTIONS_MAX = 256
PUBLISHES_MAX = 256  # connections of their own: a broker that blocks publishing must not block state and reads too
ANSWERS_SECONDS_MAX = 1.0
BULK_PARALLELISM = 10
FIRST_WRITE = {"concurrency": "first-write"}


class HttpSidecar:
    """The real sidecar of this process; `connect` makes it."""

    def __init__(self, connections: Connections, publishes: Connections) -> None:
        self._connections = connections
        self._publishes = publishes
        self.store_away = False  # the last state call failed: /healthz says so until one succeeds

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        answer = await self._state_call("GET", f"/v1.0/state/{STORE}/{quote(key, safe='')}")
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return None, None
        if answer.status != 200:
            raise self._store_failed(f"load of {key}: {answer}")
        return answer.body, answer.etag

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the values in the order of their keys, None for those that are not there."""
        if not keys:
            return []
        request = msgspec.json.encode({"keys": list(dict.fromkeys(keys)), "parallelism": BULK_PARALLELISM})
        answer = await self._state_call("POST", f"/v1.0/state/{STORE}/bulk", request)
        if answer.status != 200:
            raise self._store_failed(f"bulk load: {answer}")
        found: dict[str, bytes] = {}
        for entry in msgspec.json.decode(answer.body, type=list[_BulkEntry]):
            if entry.error:
                raise self._store_failed(f"bulk load of {entry.key}: {entry.error}")
            found[entry.key] = bytes(entry.data)
        return [found.get(key) or None for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still holds, or with None if the key is free; raise Conflict otherwise.

        With `ttl_seconds` the store forgets the key so long after this write.

        Stores name a conflict in many ways (a lost insert may even come back as a server error), so any answer that is
        not a success means: load again and decide again. If the store is away, that load says so.
        """
        write: dict[str, Any] = {"key": key, "value": msgspec.Raw(value), "options": FIRST_WRITE}
        if etag is not None:
            write["etag"] = etag
        if ttl_seconds is not None:
            write["metadata"] = {"ttlInSeconds": str(ttl_seconds)}
        answer = await self._state_call("POST", f"/v1.0/state/{STORE}", msgspec.json.encode([write]))
        if answer.status not in (200, 201, 204):
            raise Conflict(f"save of {key}: {answer}")

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; say whether it was."""
        try:
            await self.save(key, value, None)
        except Conflict as conflict:
            present, _ = await self.load(key)
            if present is None:
                raise self._store_failed(str(conflict)) from conflict
            return False
        return True

    async def publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Hand a whole CloudEvent to the broker; returning means that the sidecar says it was taken."""
        if tracing.spans is None:
            await self._publish(topic, event, seconds_max)
        else:
            with tracing.spans.publish(topic, event) as (traced, traceparent):
                await self._publish(topic, traced, seconds_max, traceparent)

    async def _publish(self, topic: str, event: bytes, seconds_max: float, traceparent: str = "") -> None:
        path = f"/v1.0/publish/{PUBSUB}/{topic}"
        answer = await self._call("POST", path, event, CONTENT_TYPE, seconds_max, traceparent, self._publishes)
        if answer.status not in (200, 204):
            raise SidecarAway(f"publish to {topic}: {answer}")

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """GET a path of another service through both sidecars; its status is the caller's to read."""
        whole = f"/v1.0/invoke/{app_id}/method{path}"
        if tracing.spans is None:
            return await self._call("GET", whole, seconds_max=seconds_max)
        with tracing.spans.call(f"invoke {app_id}") as traceparent:
            return await self._call("GET", whole, seconds_max=seconds_max, traceparent=traceparent)

    async def answers(self) -> bool:
        """Whether the sidecar itself answers, whatever it says."""
        try:
            await self._call("GET", "/v1.0/healthz", seconds_max=ANSWERS_SECONDS_MAX)
        except SidecarAway:
            return False
        return True

    async def store_answers(self) -> bool:
        """Try one read, well within the time that the sidecar gives a health probe."""
        try:
            answer = await self._call("GET", f"/v1.0/state/{STORE}/health-probe", seconds_max=0.4)
        except SidecarAway:
            self.store_away = True
        else:
            self.store_away = answer.status not in (200, 204)
        return not self.store_away

    async def _state_call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        try:
            if tracing.spans is None:
                answer = await self._call(method, path, body)
            else:  # the sidecar is told of no trace: the name of its span would be the key
                with tracing.spans.call(f"{method} state"):
                    answer = await self._call(method, path, body)
        except SidecarAway:
            self.store_away = True
            raise
        if answer.status < 300:
            self.store_away = False
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "application/json",
        seconds_max: float = CALL_SECONDS_MAX,
        traceparent: str = "",
        connections: Connections | None = None,
    ) -> Answer:
        more = f"traceparent: {traceparent}\r\n" if traceparent else ""
        way = connections or self._connections
        try:
            return await way.request(method, path, body, content_type, seconds_max, more)
        except NotConnected as error:
            raise Unreached(f"{method} {path}: {error}") from error
        except BrokenOff as error:
            raise SidecarAway(f"{method} {path}: {type(error).__name__} {error}") from error
        except TimeoutError as error:
            raise TimedOut(f"{method} {path}: no answer within {seconds_max:.3g} s") from error

    def _store_failed(self, why: str) -> SidecarAway:
        self.store_away = True
        return SidecarAway(why)


class _BulkEntry(msgspec.Struct):
    key: str
    data: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""


@asynccontextmanager
async def connect(dapr_http_port: int, dapr_api_token: str, dapr_host: str = LOOPBACK) -> AsyncIterator[HttpSidecar]:
    """The one way of this process to its sidecar; nothing is sent before the first call."""
    headers = {"dapr-api-token": dapr_api_token} if dapr_api_token else {}
    connections = Connections(dapr_host, dapr_http_port, headers, CONNECTIONS_MAX)
    publishes = Connections(dapr_host, dapr_http_port, headers, PUBLISHES_MAX)
    try:
        yield HttpSidecar(connections, publishes)
    finally:
        connections.close()
        publishes.close()
