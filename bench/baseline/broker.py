"""Events through FastStream: Redis Streams with groups, or RabbitMQ with durable queues.

Both acknowledge an event after its work is done.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from faststream.middlewares import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.redis import RedisBroker, StreamSub

from bench.baseline.store import CONNECTIONS_MAX
from sidecart.launcher.topics import read_topics

Handler = Callable[[bytes], Awaitable[None]]

# events of one topic processed concurrently; equal to the shop's prefetchCount and queueDepth
WORKERS = 32
BLOCK_MS = 2_000
STREAM_EVENTS_MAX = 1_000_000
# a pending event of this age is claimed by another reader, as with the shop's processingTimeout
ABANDONED_MS = 20_000


class Broker(Protocol):
    """The broker operations that an app of the baseline needs."""

    async def start(self) -> None:
        """Connect, declare the topics, and start reading."""

    async def stop(self) -> None:
        """Finish the events in progress, then disconnect."""

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """Handle each event of a topic once per reader name; call it before start()."""

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish an event; return when the broker has it."""


class RedisEvents:
    """One stream per topic, one consumer group per reader."""

    def __init__(self, url: str) -> None:
        self._broker = RedisBroker(url, apply_types=False, log_level=logging.DEBUG, max_connections=CONNECTIONS_MAX)

    async def start(self) -> None:
        """Connect, create the groups, and start reading."""
        await self._broker.start()

    async def stop(self) -> None:
        """Stop reading, then disconnect."""
        await self._broker.stop()

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """Add two subscribers: one for new events, one for events left pending by a dead reader."""
        new = StreamSub(topic, group=reader, consumer=reader, polling_interval=BLOCK_MS, max_records=WORKERS)
        abandoned = StreamSub(topic, group=reader, consumer=reader, polling_interval=5_000, min_idle_time=ABANDONED_MS)
        for stream, workers in ((new, WORKERS), (abandoned, 1)):
            self._broker.subscriber(
                stream=stream, max_workers=workers, ack_policy=AckPolicy.NACK_ON_ERROR, decoder=_undecoded
            )(_handler(handle))

    async def publish(self, topic: str, event: bytes) -> None:
        """Append the event to the topic's stream (XADD)."""
        await self._broker.publish(event, stream=topic, maxlen=STREAM_EVENTS_MAX)


class RabbitEvents:
    """One fanout exchange per topic, one queue per reader; all durable, with publisher confirms."""

    def __init__(self, url: str, topics: Iterable[str]) -> None:
        self._topics = topics
        channel = Channel(prefetch_count=WORKERS, publisher_confirms=True)
        self._broker = RabbitBroker(url, default_channel=channel, apply_types=False, log_level=logging.DEBUG)
        self._exchanges: dict[str, RabbitExchange] = {}

    async def start(self) -> None:
        """Connect, declare every topic's exchange, and start reading.

        A topic without readers needs its exchange too: a publish to a missing exchange fails.
        """
        await self._broker.connect()
        for topic in self._topics:
            await self._broker.declare_exchange(self._exchange(topic))
        await self._broker.start()

    async def stop(self) -> None:
        """Stop reading, then disconnect."""
        await self._broker.stop()

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """Bind a queue to the topic's exchange and subscribe to it."""
        queue = RabbitQueue(f"{reader}-{topic}", durable=True)
        self._broker.subscriber(queue, self._exchange(topic), ack_policy=AckPolicy.NACK_ON_ERROR, decoder=_undecoded)(
            _handler(handle)
        )

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish a persistent message; return when the broker has confirmed it."""
        await self._broker.publish(event, exchange=self._exchange(topic), persist=True, mandatory=False)

    def _exchange(self, topic: str) -> RabbitExchange:
        return self._exchanges.setdefault(topic, RabbitExchange(topic, type=ExchangeType.FANOUT, durable=True))


def connect(kind: str, url: str, topics: Iterable[str] | None = None) -> Broker:
    """Return a broker of this kind, redis or rabbitmq, for these topics."""
    return RedisEvents(url) if kind == "redis" else RabbitEvents(url, read_topics() if topics is None else topics)


async def _undecoded(message: Any) -> bytes:
    return bytes(message.body)


def _handler(handle: Handler) -> Callable[[bytes], Awaitable[None]]:
    async def handler(body: bytes) -> None:
        await handle(body)

    return handler
