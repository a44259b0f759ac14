"""An app with one change, to measure its cost: `python -m bench.patched <app-id> <patch>`.

The product has no such switches; this module patches the app before it starts. A patch of
HTTP_ONLY changes the client of the HTTP API, and runs with SIDECAR_API=http only.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from dapr.proto.runtime.v1.pubsub_pb2 import BulkPublishRequest, BulkPublishRequestEntry, BulkPublishResponse

from sidecart.chassis.connections import Answer, Connections, _Connection
from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.events import CONTENT_TYPE
from sidecart.chassis.grpc_api import METHOD, GrpcApi
from sidecart.chassis.http2.call import OK
from sidecart.chassis.http2.errors import BrokenOff, NotConnected
from sidecart.chassis.http_api import CONNECTIONS_MAX, HttpApi
from sidecart.chassis.outbox import Outbox
from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.record import OutboxEntry
from sidecart.chassis.server import inbound
from sidecart.chassis.settings import HTTP, SIDECAR_API, SettingError, sidecar_api
from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.sidecar_api import CALL_SECONDS_MAX
from sidecart.chassis.speculation import RecordCache, SpeculativeProcessor
from sidecart.edge.held_requests import CommandDispatcher
from sidecart.launcher.apps import module_of, write_program

BULK_MAX = 64
SOCKETS = "BENCH_SOCKETS"  # environment variable: the folder of the sidecars' sockets


def every_record_is_loaded() -> None:
    """Load every record: no record cache, no speculative save (reverts ADR 24)."""

    async def try_speculative(self: SpeculativeProcessor[Any, Any], key: str, received: Any) -> bool:
        return False

    def put(self: RecordCache, key: str, value: bytes, etag: str | None) -> None:
        """Drop the record instead of caching it."""

    SpeculativeProcessor._try_speculative = try_speculative  # type: ignore[method-assign]  # this module exists to patch
    RecordCache.put = put  # type: ignore[method-assign]  # this module exists to patch


def nothing_is_deferred() -> None:
    """Publish the unfinished entries of other processes, without deferral (reverts ADR 27)."""

    def deferred(self: EventProcessor[Any, Any], key: str, record: Any, received: Any) -> dict[str, OutboxEntry]:
        return {}

    EventProcessor._deferred = deferred  # type: ignore[method-assign]  # this module exists to patch


def called_by_aiohttp() -> None:
    """Call the sidecar through aiohttp, a general HTTP client (reverts ADR 23)."""
    sessions: dict[Connections, ClientSession] = {}

    async def request(
        self: Connections,
        method: str,
        path: str,
        body: bytes | None,
        content_type: str,
        seconds: float,
        more_headers: str = "",  # tracing is off here
    ) -> Answer:
        session = sessions.get(self)
        if session is None:
            lines = (line.split(": ", 1) for line in self._headers.splitlines() if not line.startswith("host"))
            base, connector = f"http://{self._host}:{self._port}", TCPConnector(limit=CONNECTIONS_MAX)
            session = sessions[self] = ClientSession(base, connector=connector, headers=dict(lines))
        try:
            async with session.request(
                method, path, data=body, headers={"content-type": content_type}, timeout=ClientTimeout(seconds)
            ) as answer:
                return Answer(answer.status, await answer.read(), answer.headers.get("etag"))
        except ClientError as error:
            raise BrokenOff(str(error)) from error

    Connections.request = request  # type: ignore[method-assign]  # this module exists to patch


def published_one_by_one() -> None:
    """Publish the events of a step one after the other."""

    async def publish(self: Outbox[Any, Any], entry: OutboxEntry) -> None:
        for event in entry.outputs:
            for topic in self.topics(event):
                await self.sidecar.publish(topic, bytes(event))

    Outbox.publish = publish  # type: ignore[method-assign]  # this module exists to patch


def published_in_bulk() -> None:
    """Collect events of a topic during a running publish, and send them as one bulk publish."""
    waiting: dict[str, list[tuple[bytes, Any]]] = {}

    async def publish(self: Sidecar, topic: str, event: bytes, seconds_max: float = 10.0) -> None:
        if topic in waiting:
            done = asyncio.get_running_loop().create_future()
            waiting[topic].append((event, done))
            await done
            return
        waiting[topic] = []
        try:
            await one(self, topic, event)
        finally:
            rest = waiting.pop(topic, [])
            if rest:
                task = asyncio.ensure_future(drain(self, topic, rest))
                running.add(task)
                task.add_done_callback(running.discard)

    async def drain(self: Sidecar, topic: str, rest: list[tuple[bytes, Any]]) -> None:
        while rest:
            batch, rest = rest[:BULK_MAX], rest[BULK_MAX:]
            waiting.setdefault(topic, [])
            error: SidecarUnavailable | None = None
            try:
                await bulk(self, topic, [event for event, _ in batch])
            except SidecarUnavailable as caught:
                error = caught
            for _, done in batch:
                if not done.done():
                    done.set_exception(error) if error is not None else done.set_result(None)
            if not rest:
                rest = waiting.pop(topic, [])

    async def bulk(self: Sidecar, topic: str, events: list[bytes]) -> None:
        component = self.publish_components.begin()
        try:
            if isinstance(self.api, HttpApi):
                answer = await bulk_by_http(self.api, component, topic, events)
            else:
                answer = await bulk_by_grpc(cast(GrpcApi, self.api), component, topic, events)
        finally:
            self.publish_components.end(component)
        if answer.status not in (200, 204):
            raise SidecarUnavailable(f"bulk publish to {topic}: {answer}")

    async def bulk_by_http(api: HttpApi, component: str, topic: str, events: list[bytes]) -> Answer:
        entries = [
            {"entryId": str(number), "event": msgspec.Raw(event), "contentType": CONTENT_TYPE}
            for number, event in enumerate(events)
        ]
        return await api.call("POST", f"/v1.0/publish/bulk/{component}/{topic}", msgspec.json.encode(entries))

    async def bulk_by_grpc(api: GrpcApi, component: str, topic: str, events: list[bytes]) -> Answer:
        entries = [
            BulkPublishRequestEntry(entry_id=str(number), event=event, content_type=CONTENT_TYPE)
            for number, event in enumerate(events)
        ]
        request = BulkPublishRequest(pubsub_name=component, topic=topic, entries=entries, metadata=inbound.RAW)
        head = api._publishes.head(f"{METHOD}BulkPublishEvent")
        message = request.SerializeToString()
        reply = await api._call("bulk publish", head, message, CALL_SECONDS_MAX, channel=api._publishes)
        is_complete = reply.code == OK and not BulkPublishResponse.FromString(reply.message).failedEntries
        return Answer(200 if is_complete else 500, reply.text.encode())

    one, running = Sidecar.publish, set[Any]()
    Sidecar.publish = publish  # type: ignore[method-assign]  # this module exists to patch


def parsed_by_the_sidecar() -> None:
    """Take deliveries as CloudEvents that the sidecar has parsed (reverts ADR 33)."""
    inbound.RAW.clear()


def called_over_a_unix_socket() -> None:
    """Call the sidecar over a Unix socket instead of TCP."""
    path = f"{os.environ[SOCKETS]}/dapr-{sys.argv[1]}-http.socket"

    async def new(self: Connections) -> _Connection:
        try:
            _, connection = await asyncio.get_running_loop().create_unix_connection(_Connection, path)
        except OSError as error:
            raise NotConnected(f"{path}: {error}") from error
        return connection

    Connections._new = new  # type: ignore[method-assign]  # this module exists to patch


def nothing_is_healed() -> None:
    """Turn off the gateway's journal and its checks (reverts ADR 32)."""

    async def dispatch(self: CommandDispatcher, command: Any, deadline: Any, starts: Any = None) -> Any:
        return await self._hold(command, deadline)

    CommandDispatcher.dispatch = dispatch  # type: ignore[method-assign]  # this module exists to patch


PATCHES: dict[str, Callable[[], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        every_record_is_loaded,
        nothing_is_deferred,
        called_by_aiohttp,
        published_one_by_one,
        published_in_bulk,
        parsed_by_the_sidecar,
        called_over_a_unix_socket,
        nothing_is_healed,
    )
}


HTTP_ONLY = frozenset({"called-by-aiohttp", "called-over-a-unix-socket"})
"""The patches of the HTTP client; bench/experiments.py gives both shops SIDECAR_API=http."""


def program(folder: Path, app_id: str, what: str) -> Path:
    """Write the run file that starts the patched app in place of ours, for `Options.replaced`."""
    return write_program(folder, app_id, [sys.executable, "-m", "bench.patched", app_id, what])


def main() -> None:
    """Apply the patch and run the app."""
    app_id, what = sys.argv[1:]
    if what in HTTP_ONLY and sidecar_api(os.environ) != HTTP:
        raise SettingError(SIDECAR_API, f"the patch {what} needs {HTTP}")
    PATCHES[what]()
    importlib.import_module(module_of(app_id)).main()


if __name__ == "__main__":
    main()
