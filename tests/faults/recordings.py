"""Records the events that a broker carries, for checks after the load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pika
import valkey

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import rabbitmq

RECORDER = "recorder"
PAGE = 1_000


def record(system: System, topics: Sequence[str]) -> None:
    """Make RabbitMQ copy every future event of these topics; a stream keeps past events anyway."""
    if system.broker.env != rabbitmq.ENV:
        return
    with pika.BlockingConnection(pika.URLParameters(system.broker_address)) as connection:
        channel = connection.channel()
        for topic in topics:
            channel.exchange_declare(topic, "fanout", durable=True)  # as the components declare it
            channel.queue_declare(f"{RECORDER}-{topic}", durable=True)
            channel.queue_bind(f"{RECORDER}-{topic}", topic)


def recorded(system: System, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return the topic and the body of each recorded event, oldest first within a topic."""
    read = _from_queues if system.broker.env == rabbitmq.ENV else _from_streams
    return read(system.broker_address, topics)


def _from_queues(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with pika.BlockingConnection(pika.URLParameters(address)) as connection:
        channel = connection.channel()
        for topic in topics:
            while True:
                method, _, body = channel.basic_get(f"{RECORDER}-{topic}", auto_ack=True)
                if method is None:
                    break
                found.append((topic, bytes(body or b"")))
    return found


def _from_streams(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    with valkey.Valkey.from_url(f"redis://{address}") as client:
        for topic in topics:
            last = "-"
            while True:
                entries: Any = client.xrange(topic, min=last, count=PAGE)  # the type hints allow a coroutine
                found += [(topic, bytes(fields[b"data"])) for _, fields in entries]
                if len(entries) < PAGE:
                    break
                last = f"({entries[-1][0].decode()}"
    return found
