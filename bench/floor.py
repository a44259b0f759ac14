"""The floor: one held request by the shortest way that two sidecars allow. `python -m bench.floor gateway|service`.

gateway app -> its sidecar -> broker -> service's sidecar -> service app (one read and one write of state) -> broker ->
gateway app. Plain ASGI and one aiohttp session; no framework, no validation, no log, no promise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from aiohttp import ClientSession, TCPConnector

ASKED, ANSWERED = "FloorAsked", "FloorAnswered"
GATEWAY, SERVICE = "floor-gateway", "floor-service"
INBOX = "inbox"
READS = {GATEWAY: ANSWERED, SERVICE: ASKED}
HELD_SECONDS_MAX = 30.0
SAVED = {"options": {"concurrency": "first-write"}}

Answer = tuple[int, bytes]


class Floor:
    """One of the two apps: what it does with an event, and what else it answers."""

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id
        self._session: ClientSession | None = None
        self._held: dict[str, asyncio.Future[None]] = {}

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, content = await self._answer(scope["method"], scope["path"], body)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _live(
        self, receive: Callable[[], Awaitable[dict[str, Any]]], send: Callable[[dict[str, Any]], Awaitable[None]]
    ) -> None:
        await receive()
        headers = {"dapr-api-token": os.environ["DAPR_API_TOKEN"]}
        base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}"
        async with ClientSession(base, connector=TCPConnector(limit=512), headers=headers) as self._session:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, method: str, path: str, body: bytes) -> Answer:
        match method, path.strip("/").split("/"):
            case "POST", ["events", _]:
                return await self._take(json.loads(body))
            case "GET" | "POST", ["ask"]:
                return await self._hold()
            case "GET", ["healthz"]:
                return 200, b"{}"
            case "GET", ["dapr", "subscribe"]:
                topic = READS[self._app_id]
                return 200, json.dumps([{"pubsubname": INBOX, "topic": topic, "route": f"/events/{topic}"}]).encode()
            case _:
                return 404, b"{}"

    async def _hold(self) -> Answer:
        request_id = str(uuid.uuid4())
        self._held[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._publish(ASKED, request_id)
            async with asyncio.timeout(HELD_SECONDS_MAX):
                await self._held[request_id]
        finally:
            del self._held[request_id]
        return 201, b"{}"

    async def _take(self, event: dict[str, Any]) -> Answer:
        request_id = event["data"]["id"]
        if self._app_id == GATEWAY:
            held = self._held.get(request_id)
            if held is not None and not held.done():
                held.set_result(None)
            return 200, b""
        assert self._session is not None
        key = f"floor:{request_id}"
        async with self._session.get(f"/v1.0/state/statestore/{key}") as answer:
            await answer.read()
        write = [{"key": key, "value": event["data"], **SAVED}]
        async with self._session.post("/v1.0/state/statestore", json=write) as answer:
            answer.raise_for_status()
        await self._publish(ANSWERED, request_id)
        return 200, b""

    async def _publish(self, topic: str, request_id: str) -> None:
        assert self._session is not None
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "type": topic,
            "source": self._app_id,
            "datacontenttype": "application/json",
            "data": {"id": request_id},
        }
        headers = {"content-type": "application/cloudevents+json"}
        async with self._session.post(
            f"/v1.0/publish/pubsub/{topic}", data=json.dumps(event).encode(), headers=headers
        ) as answer:
            answer.raise_for_status()


def main() -> None:
    """Serve one of the two apps until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("app", choices=("gateway", "service"))
    options = parser.parse_args()
    app = Floor(GATEWAY if options.app == "gateway" else SERVICE)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["APP_PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=120,
    )


if __name__ == "__main__":
    main()
