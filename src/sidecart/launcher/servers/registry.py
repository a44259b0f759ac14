"""The servers that the launcher can start, and its interface to each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers import postgres, rabbitmq, valkey
from sidecart.launcher.servers.backlog import Backlog
from sidecart.launcher.topics import Subscription


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server: how to start, check and stop it."""

    env: str
    """The variable from which components read its address.

    If the user sets it, the shop uses that server.
    """
    names: tuple[str, ...]
    """Its processes in stop order; the first one is the server."""
    ports: tuple[str, ...]
    """The names of its ports; the server listens on the first one."""
    start_seconds: float
    stop_seconds: float
    unavailable: Callable[[], str | None]
    """Returns why no server is available, external or started, and how to fix that; or None."""
    launch: Callable[[Processes, Path, Sequence[int], Deadline], str]
    """Starts missing processes with the data in a folder; returns the address without waiting."""
    check: Callable[[str], str | None]
    """Returns why the server at an address cannot be used, or None."""
    sweep: Callable[[Path], None] = lambda data: None
    """Kills the remaining processes of a killed server, given its data folder."""
    prepare: Callable[[str], None] = lambda address: None
    """Creates objects on a running server that sidecars would fail to create concurrently."""
    state_bytes: Callable[[str], int] | None = None
    """Returns the size of all services' records in bytes, if the server is a store."""

    def start(self, processes: Processes, data: Path, deadline: Deadline) -> str:
        """Start a server on free ports, wait until it serves, and return its address."""
        address = self.launch(processes, data, [free_port() for _ in self.ports], deadline)
        self.wait(address, processes, deadline)
        return address

    def wait(self, address: str, processes: Processes, deadline: Deadline) -> None:
        """Wait until a started server serves; raise LaunchError if it ends or takes too long."""
        name = self.names[0]
        problem: str | None = None

        def ready() -> bool:
            nonlocal problem
            if not processes.is_alive(name):
                raise LaunchError(f"{name} stopped while starting: see {processes.log(name)}")
            problem = self.check(address)
            return problem is None

        def late() -> str:
            return f"{name} did not start in {self.start_seconds} s: {problem}; see {processes.log(name)}"

        deadline.until(ready, self.start_seconds, late)


@dataclass(frozen=True, slots=True)
class Broker:
    """The launcher's interface to a server that carries events."""

    server: Server
    address_on: Callable[[int], str]
    """Returns the address of a started server on a port."""
    missing: Callable[[str, Sequence[Subscription]], list[Subscription]]
    """Returns the subscriptions that the broker does not know yet.

    Events published earlier would be lost.
    """
    unread: Callable[[str, Mapping[Subscription, int]], list[Subscription]]
    """Returns the subscriptions with the wrong number of readers.

    Raises OSError if the broker is unreachable.
    """
    backlog: Callable[[str, Path], list[Backlog]]
    """Returns the backlog of every consumer of a started broker, by address and data folder."""
    remove: Callable[[str, Sequence[Subscription]], int]
    """Deletes the broker's data for removed subscriptions; returns how many it found."""
    skip_backlog: Callable[[str, Sequence[Subscription]], None]
    """Makes consumers without readers start with the next event, regardless of earlier ones."""
    undelivered: Callable[[str, Sequence[Subscription]], dict[Subscription, int]]
    """Returns the number of undelivered events; cheap enough for a call every few seconds.

    Raises OSError if the broker is unreachable.
    """
    record: Callable[[str, Sequence[str]], None]
    """Makes the broker record every future event of these topics."""
    recorded: Callable[[str, Sequence[str]], list[tuple[str, bytes]]]
    """Returns the recorded events as topic and body."""
    lengths: Callable[[str, Path], dict[str, int]]
    """Returns the number of events in each stream or queue."""


_VALKEY = Server(
    valkey.ENV,
    (valkey.NAME,),
    (valkey.NAME,),
    valkey.START_SECONDS,
    valkey.STOP_SECONDS,
    valkey.unavailable,
    valkey.launch,
    valkey.check,
    state_bytes=valkey.state_bytes,
)
_RABBITMQ = Server(
    rabbitmq.ENV,
    (rabbitmq.NAME, rabbitmq.PORT_MAPPER),
    (rabbitmq.NAME, rabbitmq.PORT_MAPPER, f"{rabbitmq.NAME}-distribution"),
    rabbitmq.START_SECONDS,
    rabbitmq.STOP_SECONDS,
    rabbitmq.unavailable,
    rabbitmq.launch,
    rabbitmq.check,
)
_POSTGRES = Server(
    postgres.ENV,
    (postgres.NAME,),
    (postgres.NAME,),
    postgres.START_SECONDS,
    postgres.STOP_SECONDS,
    postgres.unavailable,
    postgres.launch,
    postgres.check,
    postgres.sweep,
    postgres.prepare,
    postgres.state_bytes,
)

BROKERS = {
    "redis": Broker(
        _VALKEY,
        valkey.address_on,
        valkey.missing_subscriptions,
        valkey.unread,
        valkey.backlog,
        valkey.remove,
        valkey.skip_backlog,
        valkey.undelivered,
        valkey.record,
        valkey.recorded,
        valkey.lengths,
    ),
    "rabbitmq": Broker(
        _RABBITMQ,
        rabbitmq.address_on,
        rabbitmq.missing_subscriptions,
        rabbitmq.unread,
        rabbitmq.backlog,
        rabbitmq.remove,
        rabbitmq.skip_backlog,
        rabbitmq.undelivered,
        rabbitmq.record,
        rabbitmq.recorded,
        rabbitmq.lengths,
    ),
}
"""Maps the name of the folder under components/brokers to the broker."""

STORES = {"redis": _VALKEY, "postgres": _POSTGRES}
"""Maps the name of the folder under components/stores to the server."""

ENVIRONMENT = tuple(dict.fromkeys([*(each.server.env for each in BROKERS.values()), *(s.env for s in STORES.values())]))
"""The variables that name external servers."""
