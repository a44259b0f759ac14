"""A system whose processes reach each other through the links of a faulty network."""

from __future__ import annotations

from collections.abc import Callable, Collection

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.shop import Options, Report, Shop
from sidecart.launcher.topology import app_for_sidecar
from sidecart.testkit.faults.network import Network
from sidecart.testkit.faults.swallow import Swallowed, Swallower

ENTRANCE = "entrance"
"""The link between callers and the gateway."""


class ProxiedSystem(Shop):
    """Puts a link in front of every process whose name is in `linked`."""

    def __init__(
        self,
        options: Options,
        report: Report,
        deadline: Deadline | None,
        network: Network,
        linked: Collection[str] | Callable[[str], bool],
        swallowed: Swallowed | None = None,
    ) -> None:
        super().__init__(options, report, deadline)
        self.network = network
        self._linked = linked if callable(linked) else linked.__contains__
        self._swallowed = swallowed

    def port_for_others(self, name: str) -> int:
        """Return the port of the link, or of the process without a link."""
        port = self.ports[name]
        swallowed = self._swallowed if app_for_sidecar(name) is not None else None
        if swallowed is None and not self._linked(name):
            return port
        link = self.network.link(name, port)
        if swallowed is not None:
            link.swallower_of = lambda: Swallower(swallowed)
        return link.port

    def address_for_others(self, env: str) -> str:
        """Return the address with the port of the link, if there is one."""
        address = super().address_for_others(env)
        name = self.servers[env].names[0]
        if not self._linked(name):
            return address
        port = self.ports[name]
        assert address.count(f":{port}") == 1, f"no port {port} in the address of {name}"
        return address.replace(f":{port}", f":{self.network.link(name, port).port}")

    @property
    def entrance(self) -> str:
        """The address at which callers reach the gateway."""
        if not self._linked(ENTRANCE):
            return self.url
        port = int(self.url.rpartition(":")[2])
        return f"http://127.0.0.1:{self.network.link(ENTRANCE, port).port}"
