"""Records the events that pass a broker, read from the broker itself.

For shops whose sidecars the tests cannot use: the baseline, and the shop on a cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pika
import valkey

from sidecart.launcher.topics import read_topics
from sidecart.testkit.tap import Sightings

READ_MS = 200
READY_SECONDS = 10


class BrokerTap(Sightings):
    """A context manager inside that of its shop."""

    def __init__(self, kind: str, url: Callable[[], str], body_of: Callable[[dict[bytes, bytes]], bytes]) -> None:
        """`url` is called when the tap starts. `body_of` finds the event in a stream entry."""
        super().__init__()
        self._url = url
        self._body_of = body_of
        self._ready = threading.Event()
        self._stop = threading.Event()
        read = self._read_streams if kind == "redis" else self._read_queue
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

    def _read_streams(self) -> None:
        with valkey.Valkey.from_url(self._url()) as client:
            last: dict[Any, Any] = dict.fromkeys(read_topics(), "0")
            self._ready.set()
            while not self._stop.is_set():
                # the client's type hints allow a coroutine
                found: Any = client.xread(last, block=READ_MS)
                for stream, entries in found:
                    last[stream.decode()] = entries[-1][0]
                    for _, fields in entries:
                        self.add(stream.decode(), json.loads(self._body_of(fields)))

    def _read_queue(self) -> None:
        with pika.BlockingConnection(pika.URLParameters(self._url())) as connection:
            channel = connection.channel()
            queue = str(channel.queue_declare("", exclusive=True).method.queue)
            for topic in read_topics():
                # as sidecars declare it: a topic without a reader has no exchange before its event
                channel.exchange_declare(topic, "fanout", durable=True)
                channel.queue_bind(queue, topic)
            self._ready.set()
            for method, _, body in channel.consume(queue, auto_ack=True, inactivity_timeout=READ_MS / 1000):
                if method is not None and method.exchange is not None and body is not None:
                    self.add(method.exchange, json.loads(body))
                if self._stop.is_set():
                    return
