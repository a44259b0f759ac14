"""The floor through two sidecars: a short path, over their HTTP API. `python -m bench.floor
gateway|service`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, TCPConnector

from bench.floor_app import READS, Answer, FloorApp, encoded, serve

INBOX = "inbox"
SAVED = {"options": {"concurrency": "first-write"}}


class Floor(FloorApp):
    """Sends events and records through a sidecar, over one aiohttp session to its HTTP API."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep the session open while the block runs."""
        headers = {"dapr-api-token": os.environ["DAPR_API_TOKEN"]}
        base = f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}"
        async with ClientSession(base, connector=TCPConnector(limit=512), headers=headers) as self._session:
            yield

    async def keep(self, request_id: str) -> None:
        """Read the record once and write it once."""
        key = f"floor:{request_id}"
        async with self._session.get(f"/v1.0/state/statestore/{key}") as answer:
            await answer.read()
        write = [{"key": key, "value": {"id": request_id}, **SAVED}]
        async with self._session.post("/v1.0/state/statestore", json=write) as answer:
            answer.raise_for_status()

    async def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Publish the event through the sidecar."""
        headers = {"content-type": "application/cloudevents+json"}
        async with self._session.post(f"/v1.0/publish/pubsub/{topic}", data=encoded(event), headers=headers) as answer:
            answer.raise_for_status()

    async def other(self, method: str, parts: list[str], body: bytes) -> Answer:
        """Answer the sidecar's own requests: the list of subscriptions, and event deliveries."""
        match method, parts:
            case "POST", ["events", _]:
                await self.take(json.loads(body))
                return 200, b""
            case "GET", ["dapr", "subscribe"]:
                topic = READS[self.app_id]
                return 200, json.dumps([{"pubsubname": INBOX, "topic": topic, "route": f"/events/{topic}"}]).encode()
        return 404, b"{}"


if __name__ == "__main__":
    serve(Floor)
