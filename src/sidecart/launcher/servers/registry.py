"""The servers that the launcher can start, by the name of their component folder."""

from collections.abc import Mapping

from sidecart.launcher.servers.postgres import Postgres
from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.servers.server import Broker, Server
from sidecart.launcher.servers.valkey import Valkey

_VALKEY = Valkey()

BROKERS: Mapping[str, Broker] = {"redis": _VALKEY, "rabbitmq": RabbitMq()}
"""Maps the name of the folder under components/brokers to the broker."""

STORES: Mapping[str, Server] = {"redis": _VALKEY, "postgres": Postgres()}
"""Maps the name of the folder under components/stores to the server."""

ENVIRONMENT = tuple(
    dict.fromkeys(name for each in (*BROKERS.values(), *STORES.values()) for name in each.variables(""))
)
"""The variables from which components read the addresses and the logins of servers."""
