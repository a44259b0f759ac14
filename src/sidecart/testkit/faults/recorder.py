"""Records the events that a broker carries, for checks after the load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pika
import pika.exceptions
import valkey

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import rabbitmq
from sidecart.launcher.servers import valkey as valkey_server

RECORDER = "recorder"
PAGE = 1_000
SECONDS_MAX = 20


class Recorder:
    """Records the events of some topics on the broker of one system."""

    def __init__(self, system: System, topics: Sequence[str]) -> None:
        self._is_rabbitmq = system.broker.names[0] == rabbitmq.NAME
        self._address = system.broker_address
        self._topics = topics

    def start(self) -> None:
        """Record every future event of the topics.

        RabbitMQ copies them to further queues; a stream of Valkey keeps past events anyway.
        """
        if self._is_rabbitmq:
            _declare_queues(self._address, self._topics)

    def recorded(self) -> list[tuple[str, bytes]]:
        """Return the topic and the body of each recorded event, oldest first within a topic.

        Raise OSError if the broker is unreachable. RabbitMQ returns each event once.
        """
        return (_from_queues if self._is_rabbitmq else _from_streams)(self._address, self._topics)


def _declare_queues(address: str, topics: Sequence[str]) -> None:
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        channel = connection.channel()
        for topic in topics:
            channel.exchange_declare(topic, "fanout", durable=True)  # as the components declare it
            channel.queue_declare(f"{RECORDER}-{topic}", durable=True)
            channel.queue_bind(f"{RECORDER}-{topic}", topic)


def _from_queues(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    try:
        with pika.BlockingConnection(pika.URLParameters(address)) as connection:
            channel = connection.channel()
            for topic in topics:
                while True:
                    method, _, body = channel.basic_get(f"{RECORDER}-{topic}", auto_ack=True)
                    if method is None:
                        break
                    found.append((topic, bytes(body or b"")))
    except pika.exceptions.AMQPError as error:
        raise OSError(f"{rabbitmq.NAME}: {error!r}") from error
    return found


def _from_streams(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    try:
        with valkey.Valkey.from_url(valkey_server.url(address), socket_timeout=SECONDS_MAX) as client:
            for topic in topics:
                last = "-"
                while True:
                    entries: Any = client.xrange(topic, min=last, count=PAGE)  # the type hints allow a coroutine
                    found += [(topic, bytes(fields[b"data"])) for _, fields in entries]
                    if len(entries) < PAGE:
                        break
                    last = f"({entries[-1][0].decode()}"
    except valkey.ValkeyError as error:
        raise OSError(f"{valkey_server.NAME}: {error}") from error
    return found
