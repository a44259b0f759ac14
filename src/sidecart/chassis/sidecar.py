"""A client of the sidecar's HTTP API: state with ETags, publish, invoke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from sidecart.chassis.connections import Answer, BrokenOff, Connections, NotConnected
from sidecart.chassis.errors import (
    Conflict,
    NotSent,
    SidecarTimeout,
    SidecarUnavailable,
    SidecarUnreachable,
    WriteRefused,
)
from sidecart.chassis.events import CONTENT_TYPE
from sidecart.chassis.settings import LOOPBACK
from sidecart.chassis.store_health import SAVED, StoreHealth, StoreProbe
from sidecart.chassis.telemetry import tracing

STORE = "statestore"
PUBSUB = "pubsub"  # for publishing only; other components read (ADR 12)
# One state or publish call: longer than a store's failover pause, shorter than the redelivery time.
CALL_SECONDS_MAX = 10.0
CONNECTIONS_MAX = 256
# Publishes use their own connections: a broker that blocks publishing must not block state and
# reads.
PUBLISHES_MAX = 256
ANSWERS_SECONDS_MAX = 1.0
BULK_PARALLELISM = 10
FIRST_WRITE = {"concurrency": "first-write"}
STATE = f"/v1.0/state/{STORE}"


class HttpSidecar:
    """The sidecar of this process; `connect` creates it."""

    def __init__(self, connections: Connections, publishes: Connections) -> None:
        self._connections = connections
        self._publishes = publishes
        self.store = StoreHealth()  # reported by /healthz and /readyz
        self.store_probe = StoreProbe(self.store, self._call, STATE)
        self.published_at = float("-inf")
        """The time of the event loop at the end of the last successful publish."""
        self.publish_block = ""
        """The reason why `publish` sends nothing; empty while it sends."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        answer = await self._state_call("GET", f"{STATE}/{quote(key, safe='')}")
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return None, None
        if answer.status != 200:
            raise self._store_failed(f"load of {key}: {answer}")
        return answer.body, answer.etag

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value for each key, None for a missing one."""
        if not keys:
            return []
        request = msgspec.json.encode({"keys": list(dict.fromkeys(keys)), "parallelism": BULK_PARALLELISM})
        answer = await self._state_call("POST", f"{STATE}/bulk", request)
        if answer.status != 200:
            raise self._store_failed(f"bulk load: {answer}")
        found: dict[str, bytes] = {}
        for entry in msgspec.json.decode(answer.body, type=list[_BulkEntry]):
            if entry.error:
                raise self._store_failed(f"bulk load of {entry.key}: {entry.error}")
            found[entry.key] = bytes(entry.data)
        return [found.get(key) or None for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still matches, or, with None, if the key is free.

        Raise Conflict if another process wrote the record, WriteRefused if the store refuses the
        write. With `ttl_seconds` the store deletes the key that many seconds after this write.

        Stores report conflicts and refusals with the same statuses (409 or 500 for either). The
        record itself decides: if it is unchanged, the store refused the write (ADR 37).
        """
        if self.store.write_refusal:  # `StoreProbe.watch` detects the end of the refusal
            raise WriteRefused(f"save of {key}: {self.store.problem}")
        write: dict[str, Any] = {"key": key, "value": msgspec.Raw(value), "options": FIRST_WRITE}
        if etag is not None:
            write["etag"] = etag
        if ttl_seconds is not None:
            write["metadata"] = {"ttlInSeconds": str(ttl_seconds)}
        body = msgspec.json.encode([write])
        refusal = await self._try_save(key, body, etag)
        if refusal is not None and await self.store_probe.takes_writes():
            # A transient failure, for example a broken connection between the sidecar and the
            # store.
            refusal = await self._try_save(key, body, etag)
        if refusal is not None:
            raise WriteRefused(f"save of {key}: {refusal}")

    async def _try_save(self, key: str, body: bytes, etag: str | None) -> Answer | None:
        """Return None if the record was saved, or the response of a store that refused it.

        Raise Conflict if another process wrote the record.
        """
        answer = await self._state_call("POST", STATE, body, is_write=True)
        if answer.status in SAVED:
            return None
        present, found = await self.load(key)
        if found != etag or (etag is None and present is not None):
            raise Conflict(f"save of {key}: {answer}")
        return answer

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free, and return whether it was."""
        try:
            await self.save(key, value, None)
        except Conflict:
            return False
        return True

    async def publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Publish a complete CloudEvent; it returns once the sidecar confirms the publish.

        While publishing is blocked, raise NotSent at once.
        """
        if self.publish_block:
            raise NotSent(self.publish_block)
        await self.try_publish(topic, event, seconds_max)

    async def try_publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Publish an event even while publishing is blocked."""
        if tracing.spans is None:
            await self._publish(topic, event, seconds_max)
        else:
            with tracing.spans.publish(topic, event) as (traced, traceparent):
                await self._publish(topic, traced, seconds_max, traceparent)

    async def _publish(self, topic: str, event: bytes, seconds_max: float, traceparent: str = "") -> None:
        path = f"/v1.0/publish/{PUBSUB}/{topic}"
        answer = await self._call("POST", path, event, CONTENT_TYPE, seconds_max, traceparent, self._publishes)
        if answer.status not in (200, 204):
            raise SidecarUnavailable(f"publish to {topic}: {answer}")
        self.published_at = asyncio.get_running_loop().time()

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """GET a path of another service through both sidecars; the caller interprets the status."""
        full_path = f"/v1.0/invoke/{app_id}/method{path}"
        if tracing.spans is None:
            return await self._call("GET", full_path, seconds_max=seconds_max)
        with tracing.spans.call(f"invoke {app_id}") as traceparent:
            return await self._call("GET", full_path, seconds_max=seconds_max, traceparent=traceparent)

    async def answers(self) -> bool:
        """Return whether the sidecar responds at all, with any status."""
        try:
            await self._call("GET", "/v1.0/healthz", seconds_max=ANSWERS_SECONDS_MAX)
        except SidecarUnavailable:
            return False
        return True

    async def _state_call(self, method: str, path: str, body: bytes | None = None, *, is_write: bool = False) -> Answer:
        try:
            if tracing.spans is None:
                answer = await self._call(method, path, body)
            else:  # no traceparent for the sidecar: its span name would contain the key
                with tracing.spans.call(f"{method} state"):
                    answer = await self._call(method, path, body)
        except SidecarUnavailable:
            self.store.failed(is_write=is_write)
            raise
        if answer.status < 300 and not self.store.is_certain:
            if is_write:
                self.store.written()
            else:
                self.store.read()
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
        more_headers = f"traceparent: {traceparent}\r\n" if traceparent else ""
        pool = connections or self._connections
        try:
            return await pool.request(method, path, body, content_type, seconds_max, more_headers)
        except NotConnected as error:
            raise SidecarUnreachable(f"{method} {path}: {error}") from error
        except BrokenOff as error:
            raise SidecarUnavailable(f"{method} {path}: {type(error).__name__} {error}") from error
        except TimeoutError as error:
            raise SidecarTimeout(f"{method} {path}: no answer within {seconds_max:.3g} s") from error

    def _store_failed(self, why: str) -> SidecarUnavailable:
        self.store.failed(is_write=False)
        return SidecarUnavailable(why)


class _BulkEntry(msgspec.Struct):
    key: str
    data: msgspec.Raw = msgspec.Raw(b"")
    error: str = ""


@asynccontextmanager
async def connect(dapr_http_port: int, dapr_api_token: str, dapr_host: str = LOOPBACK) -> AsyncIterator[HttpSidecar]:
    """Create this process's client of its sidecar; it sends nothing before the first call."""
    headers = {"dapr-api-token": dapr_api_token} if dapr_api_token else {}
    connections = Connections(dapr_host, dapr_http_port, headers, CONNECTIONS_MAX)
    publishes = Connections(dapr_host, dapr_http_port, headers, PUBLISHES_MAX)
    try:
        yield HttpSidecar(connections, publishes)
    finally:
        connections.close()
        publishes.close()
