"""A system whose processes reach each other through the links of a faulty network."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.system import Options, Report, System
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.topology import app_for_grpc, app_for_sidecar
from sidecart.testkit.faults.network import Network
from sidecart.testkit.faults.swallow import HttpSwallower, Swallowed, Swallower
from sidecart.testkit.faults.swallow_grpc import GrpcSwallower

ENTRANCE = "entrance"
"""The link between callers and the gateway."""


class Links(Wiring):
    """Puts a link in front of every process whose name is in `linked`."""

    def __init__(
        self,
        network: Network,
        linked: Collection[str] | Callable[[str], bool],
        swallowed: Swallowed | None = None,
    ) -> None:
        self._network = network
        self.has = linked if callable(linked) else linked.__contains__
        self._swallowed = swallowed

    def port(self, name: str, port: int) -> int:
        """Return the port of the link, or of the process without a link."""
        swallower = self._swallower_of(name)
        if swallower is None and not self.has(name):
            return port
        link = self._network.link(name, port)
        link.swallower_of = swallower
        return link.port

    def _swallower_of(self, name: str) -> Callable[[], Swallower] | None:
        """Return what swallows the publishes on a connection to a sidecar; None for other ports."""
        if self._swallowed is None:
            return None
        if app_for_grpc(name) is not None:
            return partial(GrpcSwallower, self._swallowed)
        return None if app_for_sidecar(name) is None else partial(HttpSwallower, self._swallowed)

    def address(self, name: str, address: str, port: int | None) -> str:
        """Return the address with the port of the link, if there is one."""
        if not self.has(name):
            return address
        assert port is not None, f"{name} runs outside"
        assert address.count(f":{port}") == 1, f"no port {port} in the address of {name}"
        return address.replace(f":{port}", f":{self._network.link(name, port).port}")


class ProxiedSystem(System):
    """A system whose processes reach each other through links."""

    def __init__(
        self,
        options: Options,
        report: Report,
        deadline: Deadline | None,
        network: Network,
        linked: Collection[str] | Callable[[str], bool],
        swallowed: Swallowed | None = None,
    ) -> None:
        self._links = Links(network, linked, swallowed)
        super().__init__(options, report, deadline, self._links)
        self.network = network

    @property
    def entrance(self) -> str:
        """The address at which callers reach the gateway."""
        if not self._links.has(ENTRANCE):
            return self.url
        port = int(self.url.rpartition(":")[2])
        return f"http://127.0.0.1:{self.network.link(ENTRANCE, port).port}"
