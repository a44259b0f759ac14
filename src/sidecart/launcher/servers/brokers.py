"""The brokers that the launcher can start, by the name of their component folder.

They need no package of a store, so that the image of the apps can have the live page.
"""

from collections.abc import Mapping

from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.servers.valkey import Valkey

VALKEY = Valkey()

BROKERS: Mapping[str, Broker] = {"redis": VALKEY, "rabbitmq": RabbitMq()}
"""Maps the name of the folder under components/brokers to the broker."""
