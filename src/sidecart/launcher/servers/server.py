"""The launcher's interface to the servers that it can start: brokers and stores.

A managed server is one class with this interface, in a module of its own, and one entry in the
registry. A component folder without such a class also works (`sidecart run --components`), but the
launcher then neither starts the servers nor asks them anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.topics import Subscription


class Server(Protocol):
    """One kind of server: how to start, check and stop it."""

    env: str
    """The variable from which components read its address.

    If the environment sets it, the system uses that server.
    """
    names: tuple[str, ...]
    """Its processes in the sequence of the stop; the first one is the server."""
    ports: tuple[str, ...]
    """The names of its ports; the server listens on the first one."""
    start_seconds: float
    stop_seconds: float

    def unavailable(self) -> str | None:
        """Return why no server is available, external or started, and how to fix that; or None."""

    def launch(self, processes: Processes, data: Path, ports: Sequence[int], deadline: Deadline) -> str:
        """Start missing processes with their data in a folder; return the address, do not wait."""

    def check(self, address: str) -> str | None:
        """Return why the server at an address cannot be used, or None."""

    def prepare(self, address: str) -> None:
        """Create objects on a running server that sidecars would fail to create concurrently."""
        del address  # most servers need none

    def sweep(self, data: Path) -> None:
        """Kill the remaining processes of a killed server, given its data folder."""
        del data  # most servers leave none

    def start(
        self, processes: Processes, data: Path, deadline: Deadline, ports: Mapping[str, int] | None = None
    ) -> str:
        """Start a server on these or on free ports, wait until it serves, return its address."""
        numbers = [free_port() if ports is None else ports[name] for name in self.ports]
        address = self.launch(processes, data, numbers, deadline)
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
        return address


class Broker(Server, Protocol):
    """A server that carries events. Each method raises OSError if it is unreachable."""

    def address_on(self, port: int) -> str:
        """Return the address of a started server on a port."""

    def missing(self, address: str, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that the broker does not know yet.

        Events published earlier would be lost.
        """

    def unread(self, address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with the wrong number of readers."""

    def remove(self, address: str, gone: Sequence[Subscription]) -> int:
        """Delete the broker's data for removed subscriptions; return how many it found."""

    def skip_backlog(self, address: str, new: Sequence[Subscription]) -> None:
        """Make consumers without readers start with the next event, regardless of earlier ones."""

    def undelivered(self, address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
        """Return the number of undelivered events; cheap enough for a call every few seconds."""
