"""The floor without sidecars: FastStream, and redis-py for the records. `python -m bench.baseline.floor gateway`."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bench.asking import READS, Asking, encoded, serve
from bench.baseline.broker import connect
from bench.baseline.store import Store


class BaselineFloor(Asking):
    """Events by FastStream, records in Redis."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Connect to both, and read."""
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
        """One read and one write, with the version."""
        key = f"floor:{request_id}"
        _, version = await self._store.load(key)
        await self._store.save(key, encoded({"id": request_id}), version)

    async def publish(self, topic: str, event: dict[str, Any]) -> None:
        """Straight to the broker."""
        await self._broker.publish(topic, encoded(event))


if __name__ == "__main__":
    serve(BaselineFloor)
