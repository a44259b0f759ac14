"""The two apps of the floor, without their transport.

The floor is the smallest possible held request; its latency is a lower bound for the shop's. A POST
to /ask is held until the other app answers. The path is gateway app -> broker -> service app (one
read and one write of state) -> broker -> gateway app. The apps are plain ASGI: no framework, no
validation, no log, no pending command. Subclasses add the transport of events and records.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvicorn

ASKED, ANSWERED = "FloorAsked", "FloorAnswered"
GATEWAY, SERVICE = "floor-gateway", "floor-service"
READS = {GATEWAY: ANSWERED, SERVICE: ASKED}
HELD_SECONDS_MAX = 30.0

Answer = tuple[int, bytes]


class FloorApp(ABC):
    """One of the two apps of the floor."""

    def __init__(self, app_id: str) -> None:
        self.app_id = app_id
        self._held: dict[str, asyncio.Future[None]] = {}

    @abstractmethod
    def connected(self) -> AbstractAsyncContextManager[None]:
        """Keep the app's connections open while the block runs."""

    @abstractmethod
    async def keep(self, request_id: str) -> None:
        """Read the request's record, then write it."""

    @abstractmethod
    async def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Publish an event to the broker."""

    async def other(self, method: str, parts: list[str], body: bytes) -> Answer:
        """Answer a request that this class does not route: (status, body), 404 by default."""
        return 404, b"{}"

    async def take(self, event: dict[str, Any]) -> None:
        """Process an event: the gateway answers the held request, the service does its work."""
        request_id = event["data"]["id"]
        if self.app_id == GATEWAY:
            held = self._held.get(request_id)
            if held is not None and not held.done():
                held.set_result(None)
            return
        await self.keep(request_id)
        await self._announce(ANSWERED, request_id)

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await receive()
            async with self.connected():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
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

    async def _answer(self, method: str, path: str, body: bytes) -> Answer:
        match method, path.strip("/").split("/"):
            case "GET" | "POST", ["ask"]:
                return await self._hold()
            case "GET", ["healthz"]:
                return 200, b"{}"
            case _, parts:
                return await self.other(method, parts, body)

    async def _hold(self) -> Answer:
        request_id = str(uuid.uuid4())
        self._held[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._announce(ASKED, request_id)
            async with asyncio.timeout(HELD_SECONDS_MAX):
                await self._held[request_id]
        finally:
            del self._held[request_id]
        return 201, b"{}"

    async def _announce(self, topic: str, request_id: str) -> None:
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "type": topic,
            "source": self.app_id,
            "datacontenttype": "application/json",
            "data": {"id": request_id},
        }
        await self.publish(topic, event)


def serve(make: Callable[[str], FloorApp]) -> None:
    """Serve the app named on the command line until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("app", choices=("gateway", "service"))
    app = make(GATEWAY if parser.parse_args().app == "gateway" else SERVICE)
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


def encoded(event: dict[str, Any]) -> bytes:
    """Return an event as JSON bytes."""
    return json.dumps(event).encode()
