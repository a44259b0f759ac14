"""The contents of the servers of a running system: waiting events, stored events and records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg
import valkey
from psycopg import sql

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers import rabbitmq
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.servers.valkey_groups import groups_of

PAGE = 1_000
SECONDS_MAX = 20
HYPHENATED = ("Probe", "Replies")
"""The first words of topics with hyphens."""
QUEUES = ("list_queues", "-q", "--no-table-headers", "name", "messages_ready", "messages_unacknowledged")


@dataclass(frozen=True, slots=True)
class Backlog:
    """One consumer's events of one topic at a broker. An unknown consumer keeps its full name."""

    consumer: str
    topic: str
    undelivered: int
    """Events not delivered yet."""
    pending: int
    """Events delivered but not acknowledged."""


def backlog(system: System) -> list[Backlog]:
    """Return the backlog of every consumer; raise OSError if the broker is unreachable."""
    if system.broker.env == rabbitmq.ENV:
        return _queues(system)
    return groups(system.broker_address)


def lengths(system: System) -> dict[str, int]:
    """Return the number of events in each stream, or of each consumer in each queue."""
    if system.broker.env == rabbitmq.ENV:
        return {f"{each.consumer} on {each.topic}": each.undelivered + each.pending for each in _queues(system)}
    with _client(system.broker_address) as client:
        streams: Any = client.scan_iter(_type="stream", count=PAGE)
        found: dict[str, Any] = {key.decode(): client.xlen(key) for key in streams}
    return {name: int(length) for name, length in found.items()}


def state_bytes(system: System) -> int:
    """Return the size of all records: in memory, or on disk with indexes and dead rows."""
    if system.options.store == "redis":
        return _memory(system.store_address)
    with psycopg.connect(system.store_address, connect_timeout=3) as connection:
        # a schema per app
        query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relname = 'state' AND relkind = 'r'"
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def stored_bytes(system: System) -> int:
    """Return the size of all records and of all events that the broker keeps.

    In Redis it is the memory of the keys; in PostgreSQL the size of the values before compression;
    in RabbitMQ the size of the messages in the queues.
    """
    total = 0
    if system.broker.env == rabbitmq.ENV:
        words = ("list_queues", "-q", "--no-table-headers", "message_bytes")
        total += sum(int(line) for line in rabbitmq.control(system.data, words).split())
    else:
        total += _memory(system.broker_address, "stream")
    if system.options.store == "redis":
        return total + _memory(system.store_address)
    with psycopg.connect(system.store_address, connect_timeout=3) as connection:
        schemas = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'state'").fetchall()
        for (schema,) in schemas:  # one for each app
            query = sql.SQL("SELECT sum(octet_length(value) + octet_length(key)) FROM {}.state")
            row = connection.execute(query.format(sql.Identifier(schema))).fetchone()
            total += int(row[0] or 0 if row else 0)
    return total


def records(system: System) -> Iterator[tuple[str, bytes]]:
    """Yield the key and the value of every record of all apps."""
    if not system.store_address.startswith("postgres:"):
        with _client(system.store_address) as client:
            for key in client.scan_iter(_type="hash", count=PAGE):
                found: Any = client.hgetall(key)
                yield key.decode(), b"\n".join(found.values())
        return
    with psycopg.connect(system.store_address, connect_timeout=3) as connection:
        schemas = connection.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'state'").fetchall()
        for (schema,) in schemas:  # one for each app
            query = sql.SQL("SELECT key, value FROM {}.state").format(sql.Identifier(schema))
            for key, value in connection.execute(query):
                yield str(key), value if isinstance(value, bytes) else msgspec.json.encode(value)


def _queues(system: System) -> list[Backlog]:
    """The queues of a local RabbitMQ, from its command-line tool."""
    return queues(rabbitmq.control(system.data, QUEUES))


def queues(listed: str) -> list[Backlog]:
    """Return the backlog in the output of `rabbitmqctl` with the words QUEUES."""
    lines = [line.split() for line in listed.splitlines() if line.strip()]
    return [Backlog(*consumer_and_topic(name), int(ready), int(unacked)) for name, ready, unacked in lines]


def consumer_and_topic(queue: str) -> tuple[str, str]:
    """Split a queue's name: only a probe's topic and a reply topic contain a hyphen."""
    for kind in HYPHENATED:
        consumer, found, rest = queue.partition(f"-{kind}-")
        if found:
            return consumer, f"{kind}-{rest}"
    consumer, _, topic = queue.rpartition("-")
    return consumer, topic


def groups(address: str) -> list[Backlog]:
    """Return the backlog of all consumer groups; raise OSError if the server is unreachable."""
    found = []
    try:
        with _client(address) as client:
            for key in client.scan_iter(_type="stream", count=PAGE):
                topic = key.decode()
                found += [Backlog(each.name, topic, each.lag, each.pending) for each in groups_of(client, topic)]
    except valkey.ValkeyError as error:
        raise OSError(f"{valkey_server.NAME}: {error}") from error
    return found


def _memory(address: str, kind: str = "hash") -> int:
    """The memory of the records in bytes, or that of the streams."""
    total = 0
    with _client(address) as client:
        keys = list(client.scan_iter(_type=kind, count=PAGE))
        for first in range(0, len(keys), PAGE):
            pipeline = client.pipeline(transaction=False)
            for key in keys[first : first + PAGE]:
                pipeline.memory_usage(key, samples=0)
            sizes: list[int | None] = pipeline.execute()
            total += sum(size or 0 for size in sizes)
    return total


def _client(address: str) -> valkey.Valkey:
    return valkey.Valkey.from_url(valkey_server.url(address), socket_timeout=SECONDS_MAX)
