"""The servers that the launcher can start, by the name of their component folder."""

from collections.abc import Mapping

from sidecart.launcher.servers.brokers import BROKERS, VALKEY
from sidecart.launcher.servers.postgres import Postgres
from sidecart.launcher.servers.server import Server

__all__ = ["BROKERS", "ENVIRONMENT", "STORES"]

STORES: Mapping[str, Server] = {"redis": VALKEY, "postgres": Postgres()}
"""Maps the name of the folder under components/stores to the server."""

ENVIRONMENT = tuple(
    dict.fromkeys(name for each in (*BROKERS.values(), *STORES.values()) for name in each.variables(""))
)
"""The variables from which components read the addresses and the logins of servers."""
