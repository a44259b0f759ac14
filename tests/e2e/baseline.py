"""The suite on the baseline (bench/baseline), with SHOP=baseline: the same shop without sidecars.

Tests marked `sidecars` or `own_shop` do not run there.
"""

from __future__ import annotations

import asyncio
import json
import threading
from types import TracebackType
from typing import Any, Self, cast

import httpx
import pika
import valkey
from faststream.redis import BinaryMessageFormatV1

from bench.baseline.broker import connect
from bench.baseline.shop import BaselineShop
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import read_topics
from sidecart.testkit.tap import Sightings, Tap
from tests.e2e.shopper import Shopper

FIELD = b"__data__"  # the field of a stream entry in which FastStream stores its message
READ_MS = 200


class BaselineTap(Sightings):
    """Records every event that passes the baseline's broker; a context manager inside that of its
    shop.
    """

    def __init__(self, shop: BaselineShop) -> None:
        super().__init__()
        self._shop = shop
        self._ready = threading.Event()
        self._stop = threading.Event()
        read = self._read_streams if shop.kind == "redis" else self._read_queue
        self._thread = threading.Thread(target=read, name="tap", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10), "the tap did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def publish(self, topic: str, body: bytes) -> int:
        """Publish like an app; return 204, as a sidecar does."""

        async def publish() -> None:
            broker = connect(self._shop.kind, self._shop.broker_url)
            await broker.start()
            await broker.publish(topic, body)
            await broker.stop()

        asyncio.run(publish())
        return 204

    def _read_streams(self) -> None:
        with valkey.Valkey.from_url(self._shop.redis_url) as client:
            last: dict[Any, Any] = dict.fromkeys(read_topics(), "0")
            self._ready.set()
            while not self._stop.is_set():
                # the client's type hints allow a coroutine
                found: Any = client.xread(last, block=READ_MS)
                for stream, entries in found:
                    last[stream.decode()] = entries[-1][0]
                    for _, fields in entries:
                        body, _ = BinaryMessageFormatV1.parse(fields[FIELD])
                        self.add(stream.decode(), json.loads(body))

    def _read_queue(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._shop.broker_url)) as connection:
            channel = connection.channel()
            queue = str(channel.queue_declare("", exclusive=True).method.queue)
            for topic in read_topics():
                channel.queue_bind(queue, topic)
            self._ready.set()
            for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=READ_MS / 1000):
                if method is not None and method.exchange is not None and body is not None:
                    self.add(method.exchange, json.loads(body))
                if self._stop.is_set():
                    return


class BaselineShopper(Shopper):
    """A client of the baseline."""

    def __init__(self, shop: BaselineShop, tap: BaselineTap) -> None:
        # The tests use only attributes that both shops and both taps have.
        super().__init__(cast(System, shop), cast(Tap, tap))
        self._baseline = shop

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Read a record of a service, from Redis."""
        with valkey.Valkey.from_url(self._baseline.redis_url) as client:
            # the client's type hints allow a coroutine
            value: Any = client.hget(f"{app_id}||{key}", "data")
        return httpx.Response(204) if value is None else httpx.Response(200, content=value)
