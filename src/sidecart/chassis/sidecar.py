"""A client of the sidecar: state with ETags, publish, invoke."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from sidecart.chassis.connections import Answer
from sidecart.chassis.errors import Conflict, NotSent, SidecarUnavailable, WriteRefused
from sidecart.chassis.http_api import HttpApi
from sidecart.chassis.publish_components import PublishComponents
from sidecart.chassis.settings import LOOPBACK
from sidecart.chassis.sidecar_api import CALL_SECONDS_MAX, SidecarApi
from sidecart.chassis.store_health import SAVED, StoreHealth, StoreProbe
from sidecart.chassis.telemetry import tracing

ANSWERS_SECONDS_MAX = 1.0
A = TypeVar("A", bound=Answer)


class Sidecar:
    """The sidecar of this process; `connect` creates it."""

    def __init__(self, api: SidecarApi) -> None:
        self.api = api
        self.store = StoreHealth()  # reported by /healthz and /readyz
        self.store_probe = StoreProbe(self.store, api)
        self.publish_components = PublishComponents(api)
        self.published_at = float("-inf")
        """The time of the event loop at the end of the last successful publish."""
        self.publish_block = ""
        """The reason why `publish` sends nothing; empty while it sends."""

    async def load(self, key: str) -> tuple[bytes | None, str | None]:
        """Return the value and its ETag, or (None, None)."""
        answer = await self._state_call("GET", self.api.get(key))
        if answer.status == 204 or (answer.status == 200 and not answer.body):
            return None, None
        if answer.status != 200:
            raise self._store_failed(f"load of {key}: {answer}")
        return answer.body, answer.etag

    async def load_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return one value for each key, None for a missing one."""
        if not keys:
            return []
        answer = await self._state_call("POST", self.api.get_many(list(dict.fromkeys(keys))))
        if answer.status != 200:
            raise self._store_failed(f"bulk load: {answer}")
        for key, error in answer.errors.items():
            raise self._store_failed(f"bulk load of {key}: {error}")
        return [answer.values.get(key) or None for key in keys]

    async def save(self, key: str, value: bytes, etag: str | None, *, ttl_seconds: int | None = None) -> None:
        """Write if the ETag still matches, or, with None, if the key is free.

        Raise Conflict if another process wrote the record, WriteRefused if the store refuses the
        write. With `ttl_seconds` the store deletes the key that many seconds after this write.

        Stores report conflicts and refusals with the same statuses (409 or 500 for either). The
        record itself decides: if it is unchanged, the store refused the write (ADR 37).
        """
        if self.store.write_refusal:  # `StoreProbe.watch` detects the end of the refusal
            raise WriteRefused(f"save of {key}: {self.store.problem}")
        refusal = await self._try_save(key, value, etag, ttl_seconds)
        if refusal is not None and await self.store_probe.takes_writes():
            # A transient failure, for example a broken connection between the sidecar and the
            # store.
            refusal = await self._try_save(key, value, etag, ttl_seconds)
        if refusal is not None:
            raise WriteRefused(f"save of {key}: {refusal}")

    async def _try_save(self, key: str, value: bytes, etag: str | None, ttl_seconds: int | None) -> Answer | None:
        """Return None if the record was saved, or the response of a store that refused it.

        Raise Conflict if another process wrote the record.
        """
        answer = await self._state_call("POST", self.api.put(key, value, etag, ttl_seconds), is_write=True)
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
        component = self.publish_components.begin()
        try:
            answer = await self.api.publish(component, topic, event, seconds_max, traceparent)
        finally:
            self.publish_components.end(component)
        if self.publish_components.drop(component, answer):
            await self._publish(topic, event, seconds_max, traceparent)
            return
        if answer.status not in (200, 204):
            raise SidecarUnavailable(f"publish to {topic}: {answer}")
        self.published_at = asyncio.get_running_loop().time()

    async def invoke(self, app_id: str, path: str, seconds_max: float) -> Answer:
        """GET a path of another service through both sidecars; the caller interprets the status."""
        if tracing.spans is None:
            return await self.api.invoke(app_id, path, seconds_max, "")
        with tracing.spans.call(f"invoke {app_id}") as traceparent:
            return await self.api.invoke(app_id, path, seconds_max, traceparent)

    async def answers(self) -> bool:
        """Return whether the sidecar responds at all, with any status."""
        try:
            await self.api.ping(ANSWERS_SECONDS_MAX)
        except SidecarUnavailable:
            return False
        return True

    async def _state_call(self, verb: str, call: Awaitable[A], *, is_write: bool = False) -> A:
        try:
            if tracing.spans is None:
                answer = await call
            else:  # no traceparent for the sidecar: over HTTP its span name would contain the key
                with tracing.spans.call(f"{verb} state"):
                    answer = await call
        except SidecarUnavailable:
            self.store.failed(is_write=is_write)
            raise
        if answer.status < 300 and not self.store.is_certain:
            if is_write:
                self.store.written()
            else:
                self.store.read()
        return answer

    def _store_failed(self, why: str) -> SidecarUnavailable:
        self.store.failed(is_write=False)
        return SidecarUnavailable(why)


@asynccontextmanager
async def connect(
    dapr_http_port: int, dapr_api_token: str, dapr_host: str = LOOPBACK, dapr_grpc_port: int | None = None
) -> AsyncIterator[Sidecar]:
    """Create this process's client of its sidecar; it sends nothing before the first call.

    With `dapr_grpc_port`, state and publishes use the sidecar's gRPC API.
    """
    api: SidecarApi
    if dapr_grpc_port is None:
        api = HttpApi(dapr_host, dapr_http_port, dapr_api_token)
    else:
        from sidecart.chassis.grpc_api import GrpcApi  # imports protobuf, which the HTTP API does not need

        api = GrpcApi(dapr_host, dapr_grpc_port, dapr_http_port, dapr_api_token)
    try:
        yield Sidecar(api)
    finally:
        api.close()
