"""Events by FastStream: Redis Streams with groups, or RabbitMQ with durable queues; acknowledged after the work."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

from faststream.middlewares import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.redis import RedisBroker, StreamSub

from bench.baseline.store import CONNECTIONS_MAX
from cli.topics import TOPICS

Handler = Callable[[bytes], Awaitable[None]]

WORKERS = 32  # events of a topic at once; the shop's prefetchCount and queueDepth allow as many
BLOCK_MS = 2_000
STREAM_EVENTS_MAX = 1_000_000
ABANDONED_MS = 20_000  # an event that is out for so long is taken over, as by the shop's processingTimeout


class Broker(Protocol):
    """What an app of the baseline needs of its broker."""

    async def start(self) -> None:
        """Connect, declare, and read from now on."""

    async def stop(self) -> None:
        """Finish what is being worked on, and disconnect."""

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """Have each event of a topic handled once for each name of a reader; before the start."""

    async def publish(self, topic: str, event: bytes) -> None:
        """Hand over an event; returns when the broker has it."""


class RedisEvents:
    """A stream a topic, a group a reader."""

    def __init__(self, url: str) -> None:
        self._broker = RedisBroker(url, apply_types=False, log_level=logging.DEBUG, max_connections=CONNECTIONS_MAX)

    async def start(self) -> None:
        """Connect, make the groups, read."""
        await self._broker.start()

    async def stop(self) -> None:
        """Stop reading, and disconnect."""
        await self._broker.stop()

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """One subscriber for what is new, one for what a reader that died has left."""
        new = StreamSub(topic, group=reader, consumer=reader, polling_interval=BLOCK_MS, max_records=WORKERS)
        left = StreamSub(topic, group=reader, consumer=reader, polling_interval=5_000, min_idle_time=ABANDONED_MS)
        for stream, workers in ((new, WORKERS), (left, 1)):
            self._broker.subscriber(
                stream=stream, max_workers=workers, ack_policy=AckPolicy.NACK_ON_ERROR, decoder=_as_it_came
            )(_handler(handle))

    async def publish(self, topic: str, event: bytes) -> None:
        """XADD."""
        await self._broker.publish(event, stream=topic, maxlen=STREAM_EVENTS_MAX)


class RabbitEvents:
    """A fanout exchange a topic, a queue a reader; all of it durable, publishes confirmed."""

    def __init__(self, url: str, topics: Iterable[str]) -> None:
        self._topics = topics
        channel = Channel(prefetch_count=WORKERS, publisher_confirms=True)
        self._broker = RabbitBroker(url, default_channel=channel, apply_types=False, log_level=logging.DEBUG)
        self._exchanges: dict[str, RabbitExchange] = {}

    async def start(self) -> None:
        """Connect, declare every topic's exchange (nobody may read it), read."""
        await self._broker.connect()
        for topic in self._topics:
            await self._broker.declare_exchange(self._exchange(topic))
        await self._broker.start()

    async def stop(self) -> None:
        """Stop reading, and disconnect."""
        await self._broker.stop()

    def on(self, topic: str, reader: str, handle: Handler) -> None:
        """A queue that is bound to the topic's exchange."""
        queue = RabbitQueue(f"{reader}-{topic}", durable=True)
        self._broker.subscriber(queue, self._exchange(topic), ack_policy=AckPolicy.NACK_ON_ERROR, decoder=_as_it_came)(
            _handler(handle)
        )

    async def publish(self, topic: str, event: bytes) -> None:
        """Publish, persistent; returns with the broker's confirm."""
        await self._broker.publish(event, exchange=self._exchange(topic), persist=True, mandatory=False)

    def _exchange(self, topic: str) -> RabbitExchange:
        return self._exchanges.setdefault(topic, RabbitExchange(topic, type=ExchangeType.FANOUT, durable=True))


def connect(kind: str, url: str, topics: Iterable[str] = TOPICS) -> Broker:
    """The broker of this kind, redis or rabbitmq, for these topics."""
    return RedisEvents(url) if kind == "redis" else RabbitEvents(url, topics)


async def _as_it_came(message: Any) -> bytes:
    return bytes(message.body)


def _handler(handle: Handler) -> Callable[[bytes], Awaitable[None]]:
    async def handler(body: bytes) -> None:
        await handle(body)

    return handler
