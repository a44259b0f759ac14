"""One module per server that the launcher can start; the only Python that knows a server by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.catalogue import Subscription
from cli.patience import Patience
from cli.processes import Processes
from cli.servers import rabbitmq, valkey


@dataclass(frozen=True, slots=True)
class Server:
    """What the launcher needs to know about one kind of server."""

    env: str
    """The variable that components read its address from; if somebody set it, that server is used."""
    names: tuple[str, ...]
    """Its processes, in the order in which they are stopped."""
    stop_seconds: float
    unavailable: Callable[[], str | None]
    """Why none can be had here, given or started, and what to do; or None."""
    start: Callable[[Processes, Path, Patience], str]
    """Start one with its data in a folder, wait until it serves, return its address."""
    check: Callable[[str], str | None]
    """Why the server at an address cannot be used, or None."""
    missing: Callable[[str, Sequence[Subscription]], list[Subscription]]
    """The subscriptions that the broker does not know yet; nothing may be published to them before."""


_VALKEY = Server(
    valkey.ENV,
    (valkey.NAME,),
    valkey.STOP_SECONDS,
    valkey.unavailable,
    valkey.start,
    valkey.check,
    valkey.missing_subscriptions,
)
_RABBITMQ = Server(
    rabbitmq.ENV,
    (rabbitmq.NAME, rabbitmq.PORT_MAPPER),
    rabbitmq.STOP_SECONDS,
    rabbitmq.unavailable,
    rabbitmq.start,
    rabbitmq.check,
    rabbitmq.missing_subscriptions,
)

BROKERS = {"redis": _VALKEY, "rabbitmq": _RABBITMQ}
"""By the name of the folder under components/brokers."""

STORES = {"redis": _VALKEY}
"""By the name of the folder under components/stores."""
