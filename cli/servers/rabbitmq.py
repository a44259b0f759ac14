"""RabbitMQ: Debian's server as our own child with its data in the shop's folder, or the one that was given."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pika
import pika.exceptions

from cli.catalogue import Subscription
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.patience import Patience
from cli.ports import free_port, is_listening
from cli.processes import Processes

ENV = "AMQP_URL"
NAME = "rabbitmq"
PORT_MAPPER = "epmd"
"""Erlang's port mapper. One of our own: the server would else leave a daemon behind."""

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The package's own script. The wrapper on PATH changes to another user, and hangs without a session."""

NOT_INSTALLED = f"RabbitMQ is not installed: run `make system-deps`, or set {ENV} to a server's URL"

START_SECONDS = 120
STOP_SECONDS = 40

CONSUMER_TIMEOUT_MS = 50 * 60 * 60 * 1000
"""An event may be out for as long as its service's store is away. The default of 30 minutes closes the channel, and
with it every subscription of that sidecar; 50 h is more than the 48 h for which a refused mail is tried again."""

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


def start(processes: Processes, data: Path, patience: Patience) -> str:
    """Start a server on free loopback ports and return its AMQP URL."""
    epmd = shutil.which("epmd")
    if epmd is None or not SERVER_SCRIPT.exists():
        raise LaunchError(NOT_INSTALLED)
    folder = data / NAME
    for name in ("mnesia", "log", "home"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    port, mapper_port, distribution_port = free_port(), free_port(), free_port()
    env = _environment(folder, port, mapper_port, distribution_port)
    mapper = [epmd, "-port", str(mapper_port), "-address", "127.0.0.1"]
    processes.start(PORT_MAPPER, mapper, env=env, cwd=folder)
    patience.until(lambda: is_listening(mapper_port), 10, lambda: f"{PORT_MAPPER} did not start in 10 s")
    processes.start(NAME, [str(SERVER_SCRIPT)], env=env, cwd=folder)
    address = f"amqp://guest:guest@127.0.0.1:{port}"

    def ready() -> bool:
        if not processes.is_alive(NAME):
            raise LaunchError(f"{NAME} stopped while starting: see {processes.log(NAME)}")
        return is_listening(port) and check(address) is None

    patience.until(
        ready, START_SECONDS, lambda: f"{NAME} did not start in {START_SECONDS} s: see {processes.log(NAME)}"
    )
    return address


def check(address: str) -> str | None:
    """Say why the server at a URL cannot be used, or None."""
    try:
        _connect(address).close()
    except pika.exceptions.ProbableAuthenticationError:
        return f"{ENV}: {_host(address)} refuses the user or the password"
    except (pika.exceptions.AMQPError, OSError, ValueError, LookupError) as error:  # the last two: not an AMQP URL
        return f"{ENV}: no AMQP server answers at {_host(address)} ({type(error).__name__})"
    return None


def _host(address: str) -> str:
    return address.rpartition("@")[2].removeprefix("amqp://")  # without the password


def missing_subscriptions(address: str, wanted: Sequence[Subscription]) -> list[Subscription]:
    """Which of these have no queue with a consumer yet (a queue is bound before it gets its first consumer)."""
    try:
        connection = _connect(address)
    except (pika.exceptions.AMQPError, OSError):
        return list(wanted)
    try:
        return [one for one in wanted if _consumers(connection, f"{one.consumer_id}-{one.topic}") == 0]
    finally:
        connection.close()


def _consumers(connection: pika.BlockingConnection, queue: str) -> int:
    channel = connection.channel()
    try:
        declared = channel.queue_declare(queue, passive=True)
    except pika.exceptions.ChannelClosedByBroker:  # no such queue; the broker closes the channel to say so
        return 0
    channel.close()
    return int(declared.method.consumer_count)


def _connect(address: str) -> pika.BlockingConnection:
    parameters = pika.URLParameters(address)
    parameters.socket_timeout = 2
    parameters.stack_timeout = 4
    parameters.blocked_connection_timeout = 4
    return pika.BlockingConnection(parameters)


def _environment(folder: Path, port: int, mapper_port: int, distribution_port: int) -> dict[str, str]:
    configuration = folder / "rabbitmq.conf"
    configuration.write_text(CONFIGURATION.format(port=port, consumer_timeout_ms=CONSUMER_TIMEOUT_MS), encoding="utf-8")
    plugins = folder / "enabled_plugins"
    plugins.write_text("[].\n", encoding="utf-8")
    nothing = folder / "rabbitmq-env.conf"
    nothing.touch()
    return plain_environment() | {
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
