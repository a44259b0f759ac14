"""RabbitMQ, as a child process with its data in the launcher's folder, or as an external server.

The child process is Debian's package.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pika.exceptions

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.ports import is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import rabbitmq_node as node
from sidecart.launcher.servers import rabbitmq_queues as queues
from sidecart.launcher.servers.addresses import with_login
from sidecart.launcher.servers.lag import BrokerLag, ConsumerLag
from sidecart.launcher.servers.logins import write_private
from sidecart.launcher.servers.rabbitmq_definitions import VHOST, definitions, hashed, logins_of_apps
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import Subscription

ENV = queues.ENV
NAME = "rabbitmq"
PORT_MAPPER = "epmd"
"""Erlang's port mapper, as a child process: otherwise the server would leave a daemon running."""

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The package's own script.

The wrapper on PATH changes to another login, and hangs without a session.
"""

CONTROL_SCRIPT = SERVER_SCRIPT.with_name("rabbitmqctl")
CONTROL_ENVIRONMENT = node.CONTROL_ENVIRONMENT

NOT_INSTALLED = f"RabbitMQ is not installed: run `make system-deps`, or set {ENV} to a server's URL"

START_SECONDS = 120
STOP_SECONDS = 40

CONSUMER_TIMEOUT_MS = 5 * 60 * 1000
"""How long an event may stay unacknowledged before the broker redelivers it (ADR 22).

The broker then closes the channel. By that time the sidecar has lost the event, or the event waits
for a mail server. A sidecar that is told to stop delivering while events are on their way to it can
hold some that it never processes.
"""


class RabbitMq(Broker):
    """A broker: an exchange carries each topic, and a queue each subscription."""

    env = ENV
    names = (NAME, PORT_MAPPER)
    ports = (NAME, PORT_MAPPER, f"{NAME}-distribution")
    start_seconds = START_SECONDS
    stop_seconds = STOP_SECONDS

    def unavailable(self) -> str | None:
        """Return why no server is available, or None."""
        if os.environ.get(ENV) or (SERVER_SCRIPT.exists() and shutil.which("epmd")):
            return None
        return NOT_INSTALLED

    def launch(self, processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
        """Start the server and its port mapper on loopback ports if needed; return the URL."""
        epmd = shutil.which("epmd")
        if epmd is None or not SERVER_SCRIPT.exists():
            raise LaunchError(NOT_INSTALLED)
        folder = data / NAME
        for name in ("mnesia", "log", "home"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        port, mapper_port, _ = ports
        logins = self.logins(data)
        write_private(folder / node.DEFINITIONS, definitions(hashed(logins), permissions()))
        env = node.environment(folder, ports, CONSUMER_TIMEOUT_MS)
        if not processes.is_alive(PORT_MAPPER):
            mapper = [epmd, "-port", str(mapper_port), "-address", "127.0.0.1"]
            processes.start(PORT_MAPPER, mapper, env=env, cwd=folder)
            deadline.until(lambda: is_listening(mapper_port), 10, lambda: f"{PORT_MAPPER} did not start in 10 s")
        if not processes.is_alive(NAME):
            processes.start(NAME, [str(SERVER_SCRIPT)], env=env, cwd=folder)
        return with_login(f"amqp://127.0.0.1:{port}", ADMINISTRATOR, logins[ADMINISTRATOR])

    def check(self, address: str) -> str | None:
        """Return why the server at a URL cannot be used, or None."""
        try:
            queues.connect(address).close()
        except pika.exceptions.ProbableAuthenticationError:
            return f"{ENV}: {queues.host(address)} refuses the login or the password (ACCESS_REFUSED - login)"
        except pika.exceptions.AMQPConnectionError as error:
            refused = re.search(r"NOT_ALLOWED - [^'\"]*|ACCESS_REFUSED - [^'\"]*", repr(error))
            unanswered = f"does not answer as an AMQP server ({type(error).__name__})"
            message = f"refuses: {refused[0]}" if refused else unanswered
            return f"{ENV}: {queues.host(address)} {message}"
        # the last two report an invalid AMQP URL
        except (pika.exceptions.AMQPError, OSError, ValueError, LookupError) as error:
            return f"{ENV}: no AMQP server answers at {queues.host(address)} ({type(error).__name__})"
        return None

    def login_commands(self, logins: Mapping[str, str], address: str) -> str:
        """Return a command for a shell on the server's machine."""
        vhost = unquote(urlsplit(address).path.removeprefix("/")) or VHOST
        return f"rabbitmqctl import_definitions <<'END'\n{logins_of_apps(logins, permissions(), vhost)}END\n"

    def drop_removed_bytes(self, address: str, deadline: Deadline, restart: Callable[[], None]) -> None:
        """Kill the server and start it again: it then rebuilds its files from the messages that
        are left.

        After an orderly stop it would keep its message store.
        """
        del address, deadline
        restart()

    def missing(self, address: str, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions whose queue has no consumer yet.

        A queue is bound before it gets its first consumer.
        """
        try:
            with queues.connection(address) as connection:
                return [one for one in expected if not queues.consumers(connection, queues.name_of(one))]
        except OSError:
            return list(expected)

    def unread(self, address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with fewer or more consumers than replicas.

        An additional consumer takes events and drops them.
        """
        with queues.connection(address) as connection:
            counts = {one: queues.consumers(connection, queues.name_of(one)) for one in expected}
        return [one for one, replicas in expected.items() if counts[one] != replicas]

    def remove(self, address: str, gone: Sequence[Subscription]) -> int:
        """Delete the queues of removed consumers, with their contents."""
        with queues.connection(address) as connection:
            existing = [one for one in gone if queues.exists(connection, queues.name_of(one))]
            for one in existing:
                channel = connection.channel()
                channel.queue_delete(queues.name_of(one))
                channel.close()
            return len(existing)

    def is_abandoned(
        self,
        address: str,
        some: Sequence[Subscription],
        every: Sequence[Subscription],
        read: Sequence[Subscription],
    ) -> bool:
        """Return whether at least one of the queues exists, and none has a consumer.

        The broker knows the consumers of each queue, so `every` other one says nothing. A queue of
        `read` has a consumer, so the sidecars are connected.
        """
        del every
        with queues.connection(address) as connection:
            counts = [queues.consumers(connection, queues.name_of(one)) for one in some]
            known = [each for each in counts if each is not None]
            if not known or any(known):
                return False
            return any(queues.consumers(connection, queues.name_of(one)) for one in read)

    def skip_backlog(self, address: str, new: Sequence[Subscription]) -> None:
        """Make these consumers start with the next event: a queue fills once it is declared."""
        self.remove(address, new)

    def waiting(self, address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
        """Return the number of ready events per subscription.

        The server tells no client how many it has delivered. Its command-line tool, which is slow,
        works only on its own machine.
        """
        with queues.connection(address) as connection:
            return {one: queues.ready(connection, queues.name_of(one)) for one in expected}

    def lag(self, address: str, expected: Sequence[Subscription]) -> BrokerLag:
        """Return the depth of each queue; a queue holds no acknowledged event."""
        found = self.waiting(address, expected)
        return BrokerLag([ConsumerLag(one.topic, one.consumer_id, ready) for one, ready in found.items()], [])


def consumer_timeout_ms(data: Path) -> int | None:
    """Return a local server's acknowledgement timeout in ms; None if it has none."""
    output = control(data, ("eval", "application:get_env(rabbit, consumer_timeout).")).strip()
    found = re.fullmatch(r"\{ok,\s*(\d+)\}", output)
    return int(found[1]) if found else None


def control_environment(data: Path) -> dict[str, str]:
    """Return the environment of a local server's command-line tool."""
    found: dict[str, str] = json.loads((data / NAME / CONTROL_ENVIRONMENT).read_text(encoding="utf-8"))
    return found


def control(data: Path, words: Sequence[str]) -> str:
    """Run a local server's command-line tool and return its output; raise OSError on failure."""
    try:
        command = [str(CONTROL_SCRIPT), *words]
        result = subprocess.run(
            command, env=control_environment(data), capture_output=True, text=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{NAME} does not report its queues within {error.timeout:.0f} s") from error
    if result.returncode != 0:
        raise OSError(f"{NAME} does not report its queues: {(result.stderr or result.stdout).strip()[-300:]}")
    return result.stdout
