"""A fake daprd on free ports: state with ETags, publish, invoke, over HTTP and over gRPC."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote

from aiohttp import web

from tests.unit.chassis.grpc_daprd import GrpcFront
from tests.unit.chassis.http2.h2_server import H2Server

REFUSAL = "failed saving state in state store statestore: ERROR: read-only (SQLSTATE 25006)"


@dataclass(frozen=True, slots=True)
class Call:
    """One request as received; its path is not decoded."""

    method: str
    path: str
    token: str | None
    content_type: str
    body: bytes
    traceparent: str | None = None


class Daprd:
    """The received calls, the stored records, and the failures of later calls."""

    def __init__(self) -> None:
        self.port = self.grpc_port = 0
        self.calls: list[Call] = []
        self.state: dict[str, tuple[bytes, int]] = {}
        self.conflict_status = 409
        self.answers: list[web.Response] = []  # returned first, one per call
        self.is_silent = False  # calls get no response
        self.refuses_writes = 0  # the status of every write, which has no effect; 0: writes work
        self.refused_publishes = 0  # the number of publishes to answer with 500
        self.is_store_unreachable = False  # every state call fails
        self.refuses_keys: set[str] = set()  # only writes of these keys fail
        self.hangs_up = False  # close the connection instead of a response
        self.components = ["pubsub"]  # the brokers that it reports, and on which it publishes
        self.metadata_answers: list[web.Response] = []  # returned first; questions are no calls
        self.published = asyncio.Event()
        self._stopped = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one call."""
        body = await request.read()
        token, trace = request.headers.get("dapr-api-token"), request.headers.get("traceparent")
        kind = request.headers.get("content-type", "")
        if request.path == "/v1.0/metadata":
            return self._metadata()
        if self.hangs_up:
            assert request.transport is not None
            request.transport.close()
        return await self.handle(request.method, request.raw_path, token, kind, body, trace)

    async def handle(
        self, method: str, path: str, token: str | None, kind: str, body: bytes, trace: str | None
    ) -> web.Response:
        """Carry out one call, which came over HTTP or over gRPC."""
        self.calls.append(Call(method, path, token, kind, body, trace))
        if self.is_silent:
            await self._stopped.wait()
        if self.answers:
            return self.answers.pop(0)
        if self.is_store_unreachable and "/state/" in path:
            return web.Response(status=500)
        match method, path.split("/")[2:]:
            case "GET", ["state", "statestore", key]:
                return self._get(unquote(key))
            case "POST", ["state", "statestore"]:
                return self._save(json.loads(body))
            case "POST", ["state", "statestore", "bulk"]:
                # daprd returns no particular order, and an entry for each missing key.
                return web.json_response([self._bulk_item(key) for key in reversed(json.loads(body)["keys"])])
            case "POST", ["publish", component, _] if component not in self.components:
                return web.json_response({"errorCode": "ERR_PUBSUB_NOT_FOUND"}, status=404)
            case "POST", ["publish", _, _] if self.refused_publishes:
                self.refused_publishes -= 1
                return web.Response(status=500)
            case "POST", ["publish", _, _]:
                self.published.set()
                return web.Response(status=204)
        return web.Response(status=404)

    def _metadata(self) -> web.Response:
        if self.metadata_answers:
            return self.metadata_answers.pop(0)
        store = {"name": "pubsub-9", "type": "state.redis", "version": "v1"}
        found = [{"name": each, "type": "pubsub.rabbitmq", "version": "v1"} for each in self.components]
        return web.json_response({"id": "lamps", "components": [store, *found]})

    def _get(self, key: str) -> web.Response:
        if key not in self.state:
            return web.Response(status=204)
        value, version = self.state[key]
        return web.Response(body=value, headers={"ETag": str(version)}, content_type="application/json")

    def _save(self, items: list[dict[str, object]]) -> web.Response:
        if self.refuses_writes:
            return web.json_response({"errorCode": "ERR_STATE_SAVE", "message": REFUSAL}, status=self.refuses_writes)
        for item in items:
            if item["key"] in self.refuses_keys:
                return web.json_response({"errorCode": "ERR_STATE_SAVE", "message": "too long"}, status=500)
            if item == {"key": "health-probe", "value": 1}:  # always valid; not stored
                continue
            assert {"concurrency": "first-write"} == item["options"]
            _, version = self.state.get(str(item["key"]), (b"", None))
            if item.get("etag") != (None if version is None else str(version)):
                return web.json_response({"errorCode": "ERR_STATE_SAVE"}, status=self.conflict_status)
            self.state[str(item["key"])] = json.dumps(item["value"]).encode(), (version or 0) + 1
        return web.Response(status=204)

    def _bulk_item(self, key: str) -> dict[str, object]:
        if key not in self.state:
            return {"key": key}
        value, version = self.state[key]
        return {"key": key, "data": json.loads(value), "etag": str(version)}

    def state_calls(self) -> list[str]:
        """Return the loads and saves of single keys, in order."""
        found = []
        for call in self.calls:
            match call.method, call.path.split("/")[2:]:
                case "GET", ["state", "statestore", key]:
                    found.append(f"load {unquote(key)}")
                case "POST", ["state", "statestore"]:
                    found += [f"save {item['key']}" for item in json.loads(call.body)]
        return found

    def used_components(self) -> set[str]:
        """Return the components on which it was told to publish."""
        paths = [call.path.split("/")[2:] for call in self.calls]
        return {path[1] for path in paths if path[0] == "publish"}

    @property
    def has_stopped(self) -> bool:
        """Return whether calls get no response any more."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Release the calls that got no response."""
        self._stopped.set()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition is true, for at most ten seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # no event announces it
            await asyncio.sleep(0.001)


@asynccontextmanager
async def daprd() -> AsyncIterator[Daprd]:
    """Run one fake daprd on a free local port."""
    fake = Daprd()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    grpc = H2Server(GrpcFront(fake).answer)
    try:
        listening = await grpc.listen()
        fake.grpc_port = grpc.port
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.port = runner.addresses[0][1]
        yield fake
    finally:
        fake.stop()
        await runner.cleanup()
        grpc.close(listening)
    assert [] == grpc.violations
