"""The floor without sidecars: FastStream carries the events, redis-py the records.

Run it with `python -m bench.baseline.floor gateway|service`.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.baseline.broker import connect
from bench.baseline.store import Store
from bench.floor_app import READS, FloorApp, encoded, serve


class BaselineFloor(FloorApp):
    """Sends events through FastStream and keeps records in Redis."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connect to the broker and to Redis, then start reading."""
        self._store = Store(os.environ["REDIS_URL"], self.app_id)
        self._broker = connect(os.environ["BROKER"], os.environ["BROKER_URL"], READS.values())
        self._broker.on(READS[self.app_id], self.app_id, self._take)
        await self._broker.start()
        try:
            yield
        finally:
            await self._broker.stop()
            await self._store.close()

    async def _take(self, body: bytes) -> None:
        await self.take(json.loads(body))

    async def keep(self, request_id: str) -> None:
        """Read the record once and write it once, guarded by its version."""
        key = f"floor:{request_id}"
        _, version = await self._store.load(key)
        await self._store.save(key, encoded({"id": request_id}), version)

    async def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Publish the event directly to the broker."""
        await self._broker.publish(topic, encoded(event))


if __name__ == "__main__":
    serve(BaselineFloor)
