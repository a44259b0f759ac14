"""Which servers there are, and what the launcher needs to know about each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.deadline import Deadline
from cli.errors import LaunchError
from cli.ports import free_port
from cli.processes import Processes
from cli.servers import postgres, rabbitmq, valkey
from cli.servers.backlog import Backlog
from cli.topics import Subscription


@dataclass(frozen=True, slots=True)
class Server:
    """What the launcher needs to know about one kind of server."""

    env: str
    """The variable that components read its address from; if somebody set it, that server is used."""
    names: tuple[str, ...]
    """Its processes, in the order in which they are stopped; the first one is the server."""
    ports: tuple[str, ...]
    """The names of the ports that it takes; the first one is where it serves."""
    start_seconds: float
    stop_seconds: float
    unavailable: Callable[[], str | None]
    """Why none can be had here, given or started, and what to do; or None."""
    launch: Callable[[Processes, Path, Sequence[int], Deadline], str]
    """Start those of its processes that do not run, with the data in a folder; return the address, not ready yet."""
    check: Callable[[str], str | None]
    """Why the server at an address cannot be used, or None."""
    sweep: Callable[[Path], None] = lambda data: None
    """End what a killed one may have left running, given the folder of its data."""
    prepare: Callable[[str], None] = lambda address: None
    """Make what sidecars that start at once would trip over each other in making, on a server that serves."""
    state_bytes: Callable[[str], int] | None = None
    """How much the records of all services take, of a server that is a store."""

    def start(self, processes: Processes, data: Path, deadline: Deadline) -> str:
        """Start one on free ports, wait until it serves, return its address."""
        address = self.launch(processes, data, [free_port() for _ in self.ports], deadline)
        self.wait(address, processes, deadline)
        return address

    def wait(self, address: str, processes: Processes, deadline: Deadline) -> None:
        """Wait until a server of ours serves; raise LaunchError if it ends or takes too long."""
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
    """What the launcher needs to know of a server that carries events."""

    server: Server
    address_on: Callable[[int], str]
    """The address of one of ours that serves on a port."""
    missing: Callable[[str, Sequence[Subscription]], list[Subscription]]
    """The subscriptions that the broker does not know yet; nothing may be published to them before."""
    unread: Callable[[str, Mapping[Subscription, int]], list[Subscription]]
    """The subscriptions that are not read by as many readers as there should be; raises OSError when it is
    unreachable.
    """
    backlog: Callable[[str, Path], list[Backlog]]
    """What is left to do for every consumer that a broker of ours knows, given its address and folder of data."""
    remove: Callable[[str, Sequence[Subscription]], int]
    """Remove what the broker keeps for subscriptions that are no more; returns how many there were."""
    skip_backlog: Callable[[str, Sequence[Subscription]], None]
    """Have consumers that nobody reads yet begin with what is published from now on, whatever was there before."""
    undelivered: Callable[[str, Sequence[Subscription]], dict[Subscription, int]]
    """How many events were not handed out yet; cheap enough to be asked every few seconds. OSError when it is
    unreachable.
    """
    record: Callable[[str, Sequence[str]], None]
    """Have the broker keep every event of these topics from now on."""
    recorded: Callable[[str, Sequence[str]], list[tuple[str, bytes]]]
    """The events that it kept, as topic and body."""
    lengths: Callable[[str, Path], dict[str, int]]
    """How many events each of its streams or queues keeps."""


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
"""By the name of the folder under components/brokers."""

STORES = {"redis": _VALKEY, "postgres": _POSTGRES}
"""By the name of the folder under components/stores."""

ENVIRONMENT = tuple(dict.fromkeys([*(each.server.env for each in BROKERS.values()), *(s.env for s in STORES.values())]))
"""The variables by which a server may be given."""
