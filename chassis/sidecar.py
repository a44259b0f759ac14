"""The sidecar's HTTP API: state with ETags, publish, invoke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from chassis import tracing
from chassis.connections import Answer, BrokenOff, Connections, NotConnected
from chassis.errors import Conflict, SidecarTimeout, SidecarUnavailable, SidecarUnreachable, WriteRefused
from chassis.events import CONTENT_TYPE
from chassis.settings import LOOPBACK
from chassis.store_health import StoreHealth

STORE = "statestore"
PUBSUB = "pubsub"  # everything is published here, and read by way of other components (ADR 12)
CALL_SECONDS_MAX = 10.0  # one state or publish call; longer than a store's failover pause, shorter than the redelivery
CONNECTIONS_MAX = 256
PUBLISHES_MAX = 256  # connections of their own: a broker that blocks publishing must not block state and reads too
ANSWERS_SECONDS_MAX = 1.0
BULK_PARALLELISM = 10
FIRST_WRITE = {"concurrency": "first-write"}
SAVED = (200, 201, 204)

PROBE_KEY = "health-probe"
PROBE = msgspec.json.encode([{"key": PROBE_KEY, "value": 1}])  # last-write: it always can be written, and is one record
PROBE_SECONDS_MAX = 2.0  # each of its two calls; a sidecar may try a refused write several times before it says so
UNREACHABLE_SECONDS = 1.0  # between two probes
REFUSED_SECONDS = 2.0
START_SECONDS = 0.2


class HttpSidecar:
    """The real sidecar of this process; `connect` makes it."""

    def __init__(self, connections: Connections, publishes: Connections) -> None:
        self._connections = connections
        self._publishes = publishes
        self.store = StoreHealth()  # /healthz and /readyz say what it says
        self._probing = asyncio.Lock()

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
        """Write if the ETag still holds, or with None if the key is free; raise Conflict if another process wrote it.

        With `ttl_seconds` the store forgets the key so long after this write.

        Stores name a conflict in many ways, and a refusal in the same ones (409 for either, or 500 for either).
        The record tells them apart: if it is what it was, no race was lost, and the write was refused (ADR 37).
        """
        if self.store.write_refusal:  # `watch_store` finds out when that is over
            raise WriteRefused(f"save of {key}: {self.store.problem}")
        write: dict[str, Any] = {"key": key, "value": msgspec.Raw(value), "options": FIRST_WRITE}
        if etag is not None:
            write["etag"] = etag
        if ttl_seconds is not None:
            write["metadata"] = {"ttlInSeconds": str(ttl_seconds)}
        body = msgspec.json.encode([write])
        refusal = await self._try_save(key, body, etag)
        if refusal is not None and await self._takes_writes():  # it failed by chance: a connection may have broken
            refusal = await self._try_save(key, body, etag)
        if refusal is not None:
            raise WriteRefused(f"save of {key}: {refusal}")

    async def _try_save(self, key: str, body: bytes, etag: str | None) -> Answer | None:
        """Return None if it was saved, or the answer of a store that refused it; raise Conflict for a lost race."""
        answer = await self._state_call("POST", f"/v1.0/state/{STORE}", body, is_write=True)
        if answer.status in SAVED:
            return None
        present, found = await self.load(key)
        if found != etag or (etag is None and present is not None):
            raise Conflict(f"save of {key}: {answer}")
        return answer

    async def insert(self, key: str, value: bytes) -> bool:
        """Write if the key is free; say whether it was."""
        try:
            await self.save(key, value, None)
        except Conflict:
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
            raise SidecarUnavailable(f"publish to {topic}: {answer}")

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
        except SidecarUnavailable:
            return False
        return True

    async def store_answers(self, seconds_max: float = PROBE_SECONDS_MAX) -> bool:
        """Try one write and one read, each for so long."""
        try:
            written = await self._call("POST", f"/v1.0/state/{STORE}", PROBE, seconds_max=seconds_max)
            read = await self._call("GET", f"/v1.0/state/{STORE}/{PROBE_KEY}", seconds_max=seconds_max)
        except SidecarUnavailable as fault:
            # At the start the sidecar is not up yet, and asks whether this app is healthy as soon as it is.
            if self.store.has_written or not isinstance(fault, SidecarUnreachable):
                self.store.failed(is_write=True)
            return False
        if written.status in SAVED:
            self.store.written()
        if read.status not in (200, 204):
            self.store.failed(is_write=written.status not in SAVED)
        elif written.status not in SAVED:
            self.store.refused(written)
        return self.store.is_healthy

    async def watch_store(self) -> None:
        """Write once at the start, and after a failure until a write works again; until cancelled."""
        pause = START_SECONDS
        while True:
            await self.store.needs_probe.wait()
            while not await self.store_answers():  # noqa: ASYNC110  # a store does not say when it is back
                await asyncio.sleep(REFUSED_SECONDS if self.store.write_refusal else pause)
            self.store.needs_probe.clear()
            pause = UNREACHABLE_SECONDS

    async def _takes_writes(self) -> bool:
        """Whether the store takes any write; those that were refused at the same time share one answer."""
        self.store.needs_probe.set()  # if the caller does not wait for the answer, `watch_store` does
        async with self._probing:
            return not self.store.write_refusal and await self.store_answers()

    async def _state_call(self, method: str, path: str, body: bytes | None = None, *, is_write: bool = False) -> Answer:
        try:
            if tracing.spans is None:
                answer = await self._call(method, path, body)
            else:  # the sidecar is told of no trace: the name of its span would be the key
                with tracing.spans.call(f"{method} state"):
                    answer = await self._call(method, path, body)
        except SidecarUnavailable:
            self.store.failed(is_write=is_write)
            raise
        if answer.status < 300:
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
        more = f"traceparent: {traceparent}\r\n" if traceparent else ""
        way = connections or self._connections
        try:
            return await way.request(method, path, body, content_type, seconds_max, more)
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
    """The one way of this process to its sidecar; nothing is sent before the first call."""
    headers = {"dapr-api-token": dapr_api_token} if dapr_api_token else {}
    connections = Connections(dapr_host, dapr_http_port, headers, CONNECTIONS_MAX)
    publishes = Connections(dapr_host, dapr_http_port, headers, PUBLISHES_MAX)
    try:
        yield HttpSidecar(connections, publishes)
    finally:
        connections.close()
        publishes.close()
