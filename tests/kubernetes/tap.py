"""Records the events that pass the broker of a cluster, through a port-forward."""

from __future__ import annotations

import json
import threading
from types import TracebackType
from typing import Any, Self, cast

import httpx
import pika
import valkey

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.topics import read_topics
from sidecart.testkit.tap import Sightings, Tap, publish
from tests.e2e.shopper import Shopper
from tests.kubernetes.shop import KubernetesShop

FIELD = b"data"  # the field of a stream entry in which Dapr stores the event
READ_MS = 200
READY_SECONDS = 10


class KubernetesTap(Sightings):
    """A context manager inside that of its shop."""

    def __init__(self, shop: KubernetesShop) -> None:
        super().__init__()
        self._shop = shop
        self._ready = threading.Event()
        self._stop = threading.Event()
        read = self._read_streams if shop.kind == "redis" else self._read_queue
        self._thread = threading.Thread(target=read, name="tap", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(READY_SECONDS), "the tap did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def publish(self, topic: str, body: bytes, content_type: str = "application/cloudevents+json") -> int:
        """Publish any body through the sidecar of the topic's publisher; return the status."""
        return publish(self._shop.ports, self._shop.tokens, topic, body, content_type)

    def _read_streams(self) -> None:
        with valkey.Valkey.from_url(valkey_server.url(self._shop.broker_address)) as client:
            last: dict[Any, Any] = dict.fromkeys(read_topics(), "0")
            self._ready.set()
            while not self._stop.is_set():
                # the client's type hints allow a coroutine
                found: Any = client.xread(last, block=READ_MS)
                for stream, entries in found:
                    last[stream.decode()] = entries[-1][0]
                    for _, fields in entries:
                        self.add(stream.decode(), json.loads(fields[FIELD]))

    def _read_queue(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._shop.broker_address)) as connection:
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


class KubernetesShopper(Shopper):
    """A client of the shop on a cluster."""

    def __init__(self, shop: KubernetesShop, tap: KubernetesTap) -> None:
        # The tests use only attributes that all shops and taps have.
        super().__init__(cast(System, shop), cast(Tap, tap))
        self._kubernetes = shop

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Read a record of a service, from Redis."""
        with valkey.Valkey.from_url(valkey_server.url(self._kubernetes.store_address)) as client:
            # the client's type hints allow a coroutine
            value: Any = client.hget(f"{app_id}||{key}", "data")
        return httpx.Response(204) if value is None else httpx.Response(200, content=value)
