"""The queues of a RabbitMQ server, and the connection on which they are examined."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from sidecart.launcher.topics import Subscription, queue_name

# Callers report an unreachable server in one line; the library would log a page each time.
logging.getLogger("pika").setLevel(logging.CRITICAL)

ENV = "AMQP_URL"


def connect(address: str) -> pika.BlockingConnection:
    """Connect with short timeouts; raise AMQPError or OSError if that fails."""
    parameters = pika.URLParameters(address)
    parameters.socket_timeout = 2
    parameters.stack_timeout = 4
    parameters.blocked_connection_timeout = 4
    try:
        return pika.BlockingConnection(parameters)
    # a server that does not respond; this is not an AMQPError
    except AMQPConnectorException as error:
        raise OSError(str(error)) from error


@contextmanager
def connection(address: str) -> Iterator[pika.BlockingConnection]:
    """Connect, and close the connection at the end; raise OSError if that fails."""
    try:
        opened = connect(address)
        try:
            yield opened
        finally:
            if opened.is_open:
                opened.close()
    except pika.exceptions.AMQPError as error:
        raise OSError(f"{ENV}: {host(address)}: {type(error).__name__}") from error


def host(address: str) -> str:
    """Return the host of a URL, without login and password."""
    return address.rpartition("@")[2].removeprefix("amqp://")


def name_of(one: Subscription) -> str:
    """Return the name that a sidecar gives to the queue of a subscription."""
    return queue_name(one.consumer_id, one.topic)


def exists(connection: pika.BlockingConnection, queue: str) -> bool:
    """Whether there is such a queue."""
    return consumers(connection, queue) is not None


def consumers(connection: pika.BlockingConnection, queue: str) -> int | None:
    """Return the number of a queue's consumers; None if there is no such queue."""
    declared = _declared(connection, queue)
    return None if declared is None else declared.consumer_count


def ready(connection: pika.BlockingConnection, queue: str) -> int:
    """Return the number of ready events in a queue; 0 if there is no such queue."""
    declared = _declared(connection, queue)
    return 0 if declared is None else declared.message_count


def _declared(connection: pika.BlockingConnection, queue: str) -> pika.spec.Queue.DeclareOk | None:
    """Return the broker's description of a queue; None if there is no such queue."""
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue, passive=True)
    # no such queue; the broker reports that by closing the channel
    except pika.exceptions.ChannelClosedByBroker:
        return None
    channel.close()
    return declared.method
