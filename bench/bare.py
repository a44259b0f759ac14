"""The latency of the broker and the store alone, over plain sockets, without sidecar or framework.

One connection sends an event to a reader that waits on a second connection, in its own thread. A
record is written with the same commands as the sidecar's state store uses. Each call follows a
pause, like the measured orders. Python adds about 0.1 ms.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import commands, frame, header
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.exceptions import UnmarshalingException

from bench.load import percentile
from bench.measure import PAUSE_SECONDS

TIMES = 200
T = TypeVar("T")

EVENT = b"x" * 700
NAME = "bare"
SECONDS_MAX = 10.0
SAVE = (
    "if redis.call('EXISTS', KEYS[1]) == 1 then return redis.error_reply('taken') end "
    "redis.call('HSET', KEYS[1], 'data', ARGV[1]); return redis.call('HINCRBY', KEYS[1], 'version', 1)"
)


class Wire(ABC):
    """One connection to a broker or store."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._vhost = unquote(parts.path[1:]) or "/"
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), SECONDS_MAX)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @abstractmethod
    def declare(self) -> None:
        """Create the queue or stream on the server, and prepare this connection for publishing."""

    @abstractmethod
    def consume(self) -> None:
        """Prepare this connection for reading."""

    @abstractmethod
    def publish(self) -> None:
        """Send one event and wait for the broker's confirmation."""

    @abstractmethod
    def receive(self) -> None:
        """Wait for the next event."""

    @abstractmethod
    def acknowledge(self) -> None:
        """Acknowledge the event."""

    def _read_more(self) -> None:
        some = self._socket.recv(65_536)
        if not some:
            raise ConnectionError("the server closed the connection")
        self._read += some


class RedisWire(Wire):
    """The Redis protocol: a stream with a consumer group, and records."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        if self._password:
            self.call("AUTH", self._user, self._password)

    def call(self, *words: bytes | str | int) -> Any:
        """Send a command and return its reply: bytes, None or a list of them.

        An error reply raises ConnectionError.
        """
        self._send(*words)
        return self._answer()

    def declare(self) -> None:
        """Create the consumer group unless it exists."""
        self._send("XGROUP", "CREATE", NAME, NAME, "$", "MKSTREAM")
        self._line()

    def publish(self) -> None:
        """Append an event to the stream (XADD)."""
        self.call("XADD", NAME, "*", "data", EVENT)

    def consume(self) -> None:
        """Do nothing: Redis delivers only on request."""

    def receive(self) -> None:
        """Wait for the next event (XREADGROUP)."""
        read = self.call("XREADGROUP", "GROUP", NAME, NAME, "COUNT", 1, "BLOCK", 0, "STREAMS", NAME, ">")
        ((_stream, ((self._number, _fields),)),) = read

    def acknowledge(self) -> None:
        """Acknowledge the event (XACK)."""
        self.call("XACK", NAME, NAME, self._number)

    def save(self, key: str) -> None:
        """Create a record that does not exist yet."""
        self.call("EVAL", SAVE, 1, key, EVENT)

    def _send(self, *words: bytes | str | int) -> None:
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        framed = (b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n" % len(parts) + b"".join(framed))

    def _answer(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise ConnectionError(rest.decode(errors="replace"))
        if kind == b"*":
            return [self._answer() for _ in range(int(rest))]
        if kind != b"$":
            return rest
        if int(rest) < 0:
            return None
        while len(self._read) < int(rest) + 2:
            self._read_more()
        value, self._read = self._read[: int(rest)], self._read[int(rest) + 2 :]
        return value

    def _line(self) -> bytes:
        while b"\r\n" not in self._read:
            self._read_more()
        line, _, self._read = self._read.partition(b"\r\n")
        return line


class RabbitWire(Wire):
    """AMQP 0.9.1: a durable queue behind a fanout exchange, persistent messages, publisher
    confirms.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._socket.sendall(b"AMQP\x00\x00\x09\x01")
        self._wait(commands.Connection.Start)
        credentials = f"\0{self._user}\0{self._password}"
        self._send(0, commands.Connection.StartOk({}, "PLAIN", credentials, "en_US"))
        tune = self._wait(commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self._send(0, commands.Connection.Open(self._vhost))
        self._wait(commands.Connection.OpenOk)
        self._ask(commands.Channel.Open(), commands.Channel.OpenOk)

    def declare(self) -> None:
        """Declare the exchange and the queue; turn on publisher confirms for this connection."""
        self._ask(commands.Exchange.Declare(exchange=NAME, exchange_type="fanout"), commands.Exchange.DeclareOk)
        self._ask(commands.Queue.Declare(queue=NAME, durable=True), commands.Queue.DeclareOk)
        self._ask(commands.Queue.Bind(queue=NAME, exchange=NAME), commands.Queue.BindOk)
        self._ask(commands.Confirm.Select(), commands.Confirm.SelectOk)

    def consume(self) -> None:
        """Subscribe to the queue."""
        self._ask(commands.Basic.Consume(queue=NAME), commands.Basic.ConsumeOk)

    def publish(self) -> None:
        """Publish one persistent message and wait for its confirm."""
        properties = commands.Basic.Properties(delivery_mode=2)
        parts = (
            commands.Basic.Publish(exchange=NAME),
            header.ContentHeader(0, len(EVENT), properties),
            ContentBody(EVENT),
        )
        self._socket.sendall(b"".join(frame.marshal(part, 1) for part in parts))
        self._wait(commands.Basic.Ack)

    def receive(self) -> None:
        """Wait for the next message, including its body."""
        self._tag = self._wait(commands.Basic.Deliver).delivery_tag or 0
        self._wait(ContentBody)

    def acknowledge(self) -> None:
        """Acknowledge the message."""
        self._send(1, commands.Basic.Ack(self._tag))

    def _ask(self, request: Frame, answer: type[Frame]) -> None:
        self._send(1, request)
        self._wait(answer)

    def _send(self, channel: int, part: Frame) -> None:
        self._socket.sendall(frame.marshal(part, channel))

    def _wait(self, kind: type[T]) -> T:
        while True:
            try:
                size, _, part = frame.unmarshal(self._read)
            except UnmarshalingException:
                self._read_more()
                continue
            self._read = self._read[size:]
            if isinstance(part, kind):
                return part
            if isinstance(part, commands.Connection.Close | commands.Channel.Close):
                raise ConnectionError(f"rabbitmq: {part.reply_text}")


def bare_hop(broker: str, url: str, times: int = TIMES) -> float:
    """Return the median milliseconds from sending an event until a waiting reader has it."""
    connect: type[Wire] = RedisWire if broker == "redis" else RabbitWire
    with connect(url) as sender, connect(url) as reader:
        sender.declare()
        reader.consume()
        taken: queue.Queue[float | OSError] = queue.Queue()

        def read() -> None:
            try:
                for _ in range(times):
                    reader.receive()
                    taken.put(time.perf_counter())
                    reader.acknowledge()
            except OSError as error:  # also the end of the connection, after an interrupt
                taken.put(error)

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        found = []
        for _ in range(times):
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            sender.publish()
            read_at = taken.get(timeout=SECONDS_MAX)
            if isinstance(read_at, OSError):
                raise read_at
            found.append(read_at - started)
        thread.join(SECONDS_MAX)
    return percentile(found, 50) * 1000


def bare_save(url: str, times: int = TIMES) -> float:
    """Return the median time in milliseconds of writing a record to Redis."""
    found = []
    with RedisWire(url) as wire:
        for _ in range(times):
            key = f"{NAME}-{uuid.uuid4()}"
            time.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            wire.save(key)
            found.append(time.perf_counter() - started)
    return percentile(found, 50) * 1000
