"""RabbitMQ: Debian's server as our own child with its data in the shop's folder, or the one that was given."""

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pika
import pika.exceptions
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from cli.deadline import Deadline
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.ports import is_listening
from cli.processes import Processes
from cli.servers.backlog import Backlog
from cli.topics import Subscription

# A server that is unreachable is told to whoever asks, in one line; the library would print a page of its own each
# time.
logging.getLogger("pika").setLevel(logging.CRITICAL)

ENV = "AMQP_URL"
NAME = "rabbitmq"
PORT_MAPPER = "epmd"
"""Erlang's port mapper. One of our own: the server would else leave a daemon behind."""

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The package's own script. The wrapper on PATH changes to another user, and hangs without a session."""

CONTROL_SCRIPT = SERVER_SCRIPT.with_name("rabbitmqctl")
RECORDER = "recorder"
CONTROL_ENVIRONMENT = "control.json"
"""The environment of a server's processes, kept beside its data for the command line tool."""

NOT_INSTALLED = f"RabbitMQ is not installed: run `make system-deps`, or set {ENV} to a server's URL"

START_SECONDS = 120
STOP_SECONDS = 40

CONSUMER_TIMEOUT_MS = 5 * 60 * 1000
"""An event that is out for longer has been forgotten by its sidecar, or waits for a mail server: the broker closes the
channel and hands it out again (ADR 22). A sidecar that is told to stop delivering while events are on their way to it
can keep some that it never looks at again."""

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
consumer_timeout = {consumer_timeout_ms}
# A small disk must not stop a development shop; below this the server stops taking events.
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = warning
log.file = false
"""


def unavailable() -> str | None:
    """Say why no server can be had here, or None."""
    if os.environ.get(ENV) or (SERVER_SCRIPT.exists() and shutil.which("epmd")):
        return None
    return NOT_INSTALLED


def launch(processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
    """Start what does not run of a server and its port mapper on loopback ports, and return the AMQP URL."""
    epmd = shutil.which("epmd")
    if epmd is None or not SERVER_SCRIPT.exists():
        raise LaunchError(NOT_INSTALLED)
    folder = data / NAME
    for name in ("mnesia", "log", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port, mapper_port, distribution_port = ports
    env = _environment(folder, port, mapper_port, distribution_port)
    if not processes.is_alive(PORT_MAPPER):
        mapper = [epmd, "-port", str(mapper_port), "-address", "127.0.0.1"]
        processes.start(PORT_MAPPER, mapper, env=env, cwd=folder)
        deadline.until(lambda: is_listening(mapper_port), 10, lambda: f"{PORT_MAPPER} did not start in 10 s")
    if not processes.is_alive(NAME):
        processes.start(NAME, [str(SERVER_SCRIPT)], env=env, cwd=folder)
    return address_on(port)


def address_on(port: int) -> str:
    """The address of a server of ours."""
    return f"amqp://guest:guest@127.0.0.1:{port}"


def check(address: str) -> str | None:
    """Say why the server at a URL cannot be used, or None."""
    try:
        _connect(address).close()
    except pika.exceptions.ProbableAuthenticationError:
        return f"{ENV}: {_host(address)} refuses the user or the password (ACCESS_REFUSED - login)"
    except pika.exceptions.AMQPConnectionError as error:
        refused = re.search(r"NOT_ALLOWED - [^'\"]*|ACCESS_REFUSED - [^'\"]*", repr(error))
        message = f"refuses: {refused[0]}" if refused else f"does not answer as an AMQP server ({type(error).__name__})"
        return f"{ENV}: {_host(address)} {message}"
    except (pika.exceptions.AMQPError, OSError, ValueError, LookupError) as error:  # the last two: not an AMQP URL
        return f"{ENV}: no AMQP server answers at {_host(address)} ({type(error).__name__})"
    return None


def _host(address: str) -> str:
    return address.rpartition("@")[2].removeprefix("amqp://")  # without the password


def missing_subscriptions(address: str, expected: Sequence[Subscription]) -> list[Subscription]:
    """Which of these have no queue with a consumer yet (a queue is bound before it gets its first consumer)."""
    try:
        with _connection(address) as connection:
            return [one for one in expected if not _consumers(connection, _queue(one))]
    except OSError:
        return list(expected)


def unread(address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
    """Which of these have not as many consumers as there are replicas: one too many takes events and drops them."""
    with _connection(address) as connection:
        return [one for one, replicas in expected.items() if _consumers(connection, _queue(one)) != replicas]


def backlog(address: str, data: Path) -> list[Backlog]:
    """What is left to do for every queue of a server of ours, by its own command line tool."""
    del address
    words = ("list_queues", "-q", "--no-table-headers", "name", "messages_ready", "messages_unacknowledged")
    lines = [line.split() for line in control(data, words).splitlines() if line.strip()]
    return [Backlog(*_consumer_and_topic(name), int(ready), int(unacked)) for name, ready, unacked in lines]


def consumer_timeout_ms(data: Path) -> int | None:
    """How long an event may be out at a server of ours, by its own command line tool; None: for ever."""
    output = control(data, ("eval", "application:get_env(rabbit, consumer_timeout).")).strip()
    found = re.fullmatch(r"\{ok,\s*(\d+)\}", output)
    return int(found[1]) if found else None


def control(data: Path, words: Sequence[str]) -> str:
    """What the command line tool of a server of ours prints, given the shop's folder of data; OSError if it cannot."""
    try:
        env = json.loads((data / NAME / CONTROL_ENVIRONMENT).read_text(encoding="utf-8"))
        command = [str(CONTROL_SCRIPT), *words]
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{NAME} does not say what it holds within {error.timeout:.0f} s") from error
    if result.returncode != 0:
        raise OSError(f"{NAME} does not say what it holds: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout


def lengths(address: str, data: Path) -> dict[str, int]:
    """How many events each queue holds, out or not."""
    return {f"{each.consumer} on {each.topic}": each.undelivered + each.pending for each in backlog(address, data)}


def remove(address: str, gone: Sequence[Subscription]) -> int:
    """Remove the queues of consumers that are gone, with what is in them."""
    with _connection(address) as connection:
        there = [one for one in gone if _exists(connection, _queue(one))]
        for one in there:
            channel = connection.channel()
            channel.queue_delete(_queue(one))
            channel.close()
        return len(there)


def skip_backlog(address: str, new: Sequence[Subscription]) -> None:
    """Have these consumers begin with what is published from now on: a queue is filled from when it is declared."""
    remove(address, new)


def undelivered(address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
    """How many events each of these has not been given yet; the command line tool would know no more, and is slow."""
    with _connection(address) as connection:
        return {one: _ready(connection, _queue(one)) for one in expected}


def record(address: str, topics: Sequence[str]) -> None:
    """Keep a copy of every event of these topics from now on, in queues that `recorded` reads."""
    with _connection(address) as connection:
        channel = connection.channel()
        for topic in topics:
            channel.exchange_declare(topic, "fanout", durable=True)  # as the components declare it
            channel.queue_declare(f"{RECORDER}-{topic}", durable=True)
            channel.queue_bind(f"{RECORDER}-{topic}", topic)


def recorded(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    """Every event of these topics since `record`, oldest first; they are kept no longer."""
    found: list[tuple[str, bytes]] = []
    with _connection(address) as connection:
        channel = connection.channel()
        for topic in topics:
            while True:
                method, _, body = channel.basic_get(f"{RECORDER}-{topic}", auto_ack=True)
                if method is None:
                    break
                found.append((topic, bytes(body or b"")))
    return found


def _queue(one: Subscription) -> str:
    return f"{one.consumer_id}-{one.topic}"


def _consumer_and_topic(queue: str) -> tuple[str, str]:
    """What a queue's name was made of: a topic holds a hyphen only as a probe's."""
    consumer, probe, rest = queue.partition("-Probe-")
    if probe:
        return consumer, f"Probe-{rest}"
    consumer, _, topic = queue.rpartition("-")
    return consumer, topic


@contextmanager
def _connection(address: str) -> Iterator[pika.BlockingConnection]:
    try:
        connection = _connect(address)
        try:
            yield connection
        finally:
            if connection.is_open:
                connection.close()
    except pika.exceptions.AMQPError as error:
        raise OSError(f"{ENV}: {_host(address)}: {type(error).__name__}") from error


def _exists(connection: pika.BlockingConnection, queue: str) -> bool:
    return _consumers(connection, queue) is not None


def _consumers(connection: pika.BlockingConnection, queue: str) -> int | None:
    """How many consumers a queue has; None if there is no such queue."""
    declared = _declared(connection, queue)
    return None if declared is None else declared.consumer_count


def _ready(connection: pika.BlockingConnection, queue: str) -> int:
    """How many events wait in a queue; none if there is no such queue."""
    declared = _declared(connection, queue)
    return 0 if declared is None else declared.message_count


def _declared(connection: pika.BlockingConnection, queue: str) -> pika.spec.Queue.DeclareOk | None:
    """What the broker says of a queue; None if there is no such queue."""
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:  # no such queue; the broker closes the channel to say so
        return None
    channel.close()
    return declared.method


def _connect(address: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(address)
    parameters.socket_timeout = 2
    parameters.stack_timeout = 4
    parameters.blocked_connection_timeout = 4
    try:
        return pika.BlockingConnection(parameters)
    except AMQPConnectorException as error:  # a server that says nothing; it is no AMQPError
        raise OSError(str(error)) from error


def _environment(folder: Path, port: int, mapper_port: int, distribution_port: int) -> dict[str, str]:
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(CONFIGURATION.format(port=port, consumer_timeout_ms=CONSUMER_TIMEOUT_MS), encoding="utf-8")
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n", encoding="utf-8")
    nothing = folder / "rabbitmq-env.conf"
    nothing.touch()
    env = plain_environment() | {
        "HOME": str(folder / "home"),  # where the Erlang cookie is made
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # The same in every run: the data belongs to the node of this name. Several at once do not meet, since each
        # has a port mapper of its own.
        "RABBITMQ_NODENAME": "sidecart@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(nothing),  # and not the one in /etc
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        # The script then becomes the server instead of staying its parent: one process to signal, none left behind.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    control = folder / CONTROL_ENVIRONMENT
    control.touch(mode=0o600)
    control.write_text(json.dumps(env), encoding="utf-8")
    return env
