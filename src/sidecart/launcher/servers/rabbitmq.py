"""RabbitMQ, as a child process with its data in the shop's folder, or as an external server.

The child process is Debian's package.
"""

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

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.backlog import Backlog
from sidecart.launcher.topics import Subscription

# Callers report an unreachable server in one line; the library would log a page each time.
logging.getLogger("pika").setLevel(logging.CRITICAL)

ENV = "AMQP_URL"
NAME = "rabbitmq"
PORT_MAPPER = "epmd"
"""Erlang's port mapper, as a child process: otherwise the server would leave a daemon running."""

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The package's own script.

The wrapper on PATH changes to another user, and hangs without a session.
"""

CONTROL_SCRIPT = SERVER_SCRIPT.with_name("rabbitmqctl")
RECORDER = "recorder"
CONTROL_ENVIRONMENT = "control.json"
"""The environment of a server's processes, stored with its data for the command-line tool."""

NOT_INSTALLED = f"RabbitMQ is not installed: run `make system-deps`, or set {ENV} to a server's URL"

START_SECONDS = 120
STOP_SECONDS = 40

CONSUMER_TIMEOUT_MS = 5 * 60 * 1000
"""How long an event may stay unacknowledged before the broker redelivers it (ADR 22).

The broker then closes the channel. By that time the sidecar has lost the event, or the event waits
for a mail server. A sidecar that is told to stop delivering while events are on their way to it can
hold some that it never processes.
"""

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
consumer_timeout = {consumer_timeout_ms}
# A small disk must not stop a development shop. Below this limit the server accepts no events.
disk_free_limit.absolute = 100MB
log.console = true
log.console.level = warning
log.file = false
"""


def unavailable() -> str | None:
    """Return why no server is available, or None."""
    if os.environ.get(ENV) or (SERVER_SCRIPT.exists() and shutil.which("epmd")):
        return None
    return NOT_INSTALLED


def launch(processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
    """Start the server and its port mapper on loopback ports if they do not run; return the URL."""
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
    """The address of a server that the launcher started."""
    return f"amqp://guest:guest@127.0.0.1:{port}"


def check(address: str) -> str | None:
    """Return why the server at a URL cannot be used, or None."""
    try:
        _connect(address).close()
    except pika.exceptions.ProbableAuthenticationError:
        return f"{ENV}: {_host(address)} refuses the user or the password (ACCESS_REFUSED - login)"
    except pika.exceptions.AMQPConnectionError as error:
        refused = re.search(r"NOT_ALLOWED - [^'\"]*|ACCESS_REFUSED - [^'\"]*", repr(error))
        message = f"refuses: {refused[0]}" if refused else f"does not answer as an AMQP server ({type(error).__name__})"
        return f"{ENV}: {_host(address)} {message}"
    # the last two report an invalid AMQP URL
    except (pika.exceptions.AMQPError, OSError, ValueError, LookupError) as error:
        return f"{ENV}: no AMQP server answers at {_host(address)} ({type(error).__name__})"
    return None


def _host(address: str) -> str:
    return address.rpartition("@")[2].removeprefix("amqp://")  # without the password


def missing_subscriptions(address: str, expected: Sequence[Subscription]) -> list[Subscription]:
    """Return the subscriptions whose queue has no consumer yet.

    A queue is bound before it gets its first consumer.
    """
    try:
        with _connection(address) as connection:
            return [one for one in expected if not _consumers(connection, _queue(one))]
    except OSError:
        return list(expected)


def unread(address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
    """Return the subscriptions with fewer or more consumers than replicas.

    An additional consumer takes events and drops them.
    """
    with _connection(address) as connection:
        return [one for one, replicas in expected.items() if _consumers(connection, _queue(one)) != replicas]


def backlog(address: str, data: Path) -> list[Backlog]:
    """Return the backlog of every queue of a local server, from its command-line tool."""
    del address
    words = ("list_queues", "-q", "--no-table-headers", "name", "messages_ready", "messages_unacknowledged")
    lines = [line.split() for line in control(data, words).splitlines() if line.strip()]
    return [Backlog(*_consumer_and_topic(name), int(ready), int(unacked)) for name, ready, unacked in lines]


def consumer_timeout_ms(data: Path) -> int | None:
    """Return a local server's acknowledgement timeout in ms; None if it has none."""
    output = control(data, ("eval", "application:get_env(rabbit, consumer_timeout).")).strip()
    found = re.fullmatch(r"\{ok,\s*(\d+)\}", output)
    return int(found[1]) if found else None


def control(data: Path, words: Sequence[str]) -> str:
    """Run a local server's command-line tool and return its output; raise OSError on failure."""
    try:
        env = json.loads((data / NAME / CONTROL_ENVIRONMENT).read_text(encoding="utf-8"))
        command = [str(CONTROL_SCRIPT), *words]
        result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{NAME} does not report its queues within {error.timeout:.0f} s") from error
    if result.returncode != 0:
        raise OSError(f"{NAME} does not report its queues: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout


def lengths(address: str, data: Path) -> dict[str, int]:
    """Return the number of events in each queue, including unacknowledged ones."""
    return {f"{each.consumer} on {each.topic}": each.undelivered + each.pending for each in backlog(address, data)}


def remove(address: str, gone: Sequence[Subscription]) -> int:
    """Delete the queues of removed consumers, with their contents."""
    with _connection(address) as connection:
        existing = [one for one in gone if _exists(connection, _queue(one))]
        for one in existing:
            channel = connection.channel()
            channel.queue_delete(_queue(one))
            channel.close()
        return len(existing)


def skip_backlog(address: str, new: Sequence[Subscription]) -> None:
    """Make these consumers start with the next event: a queue fills only after it is declared."""
    remove(address, new)


def undelivered(address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
    """Return the number of ready events per subscription.

    The command-line tool knows no more, and is slow.
    """
    with _connection(address) as connection:
        return {one: _ready(connection, _queue(one)) for one in expected}


def record(address: str, topics: Sequence[str]) -> None:
    """Copy every future event of these topics to queues that `recorded` reads."""
    with _connection(address) as connection:
        channel = connection.channel()
        for topic in topics:
            channel.exchange_declare(topic, "fanout", durable=True)  # as the components declare it
            channel.queue_declare(f"{RECORDER}-{topic}", durable=True)
            channel.queue_bind(f"{RECORDER}-{topic}", topic)


def recorded(address: str, topics: Sequence[str]) -> list[tuple[str, bytes]]:
    """Remove and return every event of these topics since `record`, oldest first."""
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
    """Split a queue's name: a topic contains a hyphen only if it is a probe's topic."""
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
    """Return the number of a queue's consumers; None if there is no such queue."""
    declared = _declared(connection, queue)
    return None if declared is None else declared.consumer_count


def _ready(connection: pika.BlockingConnection, queue: str) -> int:
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


def _connect(address: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(address)
    parameters.socket_timeout = 2
    parameters.stack_timeout = 4
    parameters.blocked_connection_timeout = 4
    try:
        return pika.BlockingConnection(parameters)
    # a server that does not respond; this is not an AMQPError
    except AMQPConnectorException as error:
        raise OSError(str(error)) from error


def _environment(folder: Path, port: int, mapper_port: int, distribution_port: int) -> dict[str, str]:
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(CONFIGURATION.format(port=port, consumer_timeout_ms=CONSUMER_TIMEOUT_MS), encoding="utf-8")
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n", encoding="utf-8")
    empty_file = folder / "rabbitmq-env.conf"
    empty_file.touch()
    env = plain_environment() | {
        "HOME": str(folder / "home"),  # the location of the Erlang cookie
        "ERL_EPMD_PORT": str(mapper_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        # The same in every run, because the data belongs to the node with this name. Concurrent
        # servers do not conflict, because each has its own port mapper.
        "RABBITMQ_NODENAME": "sidecart@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONF_ENV_FILE": str(empty_file),  # instead of the file in /etc
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        # Makes the script exec the server instead of staying its parent: one process to signal, and
        # none left running.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    control = folder / CONTROL_ENVIRONMENT
    control.touch(mode=0o600)
    control.write_text(json.dumps(env), encoding="utf-8")
    return env
