"""The launcher's interface to the servers that it can start: brokers and stores.

A managed server is one class with this interface, in a module of its own, and one entry in the
registry. A component folder without such a class also works (`sidecart run --components`), but the
launcher then neither starts the servers nor asks them anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sidecart.chassis.settings import text
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import ADMINISTRATOR, permissions
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.servers.addresses import with_login
from sidecart.launcher.servers.lag import BrokerLag
from sidecart.launcher.servers.logins import read_logins
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
        """Start missing processes with their data in a folder; do not wait.

        Returns the address with the login of the administrator.
        """

    def check(self, address: str) -> str | None:
        """Return why the server at an address cannot be used, or None."""

    def warning(self, address: str) -> str | None:
        """Return what will soon keep the server from taking writes, or None; raise no error."""
        del address  # most servers report nothing before
        return None

    def prepare(self, address: str) -> None:
        """Create objects on an external server that sidecars would fail to create concurrently."""
        del address  # most servers need none

    def admit(self, address: str, data: Path) -> None:
        """Create the logins of the apps on a started server, and what `prepare` creates for each.

        Most servers read the logins from a file that `launch` writes.
        """
        del address, data

    def address_of(self, login: str, address: str, data: Path) -> str:
        """Return the address of a started server with a login, which exists.

        Raises LaunchError for a login that the topology does not know.
        """
        password = self.logins(data).get(login)
        if password is None:
            raise LaunchError(f"{login} has no login at {self.names[0]}: it is no app of this project")
        return with_login(address, login, password)

    def logins(self, data: Path) -> dict[str, str]:
        """Return the passwords of a started server's logins."""
        return self.passwords(data, (ADMINISTRATOR, *(each.app_id for each in permissions())))

    def passwords(self, data: Path, names: Sequence[str]) -> dict[str, str]:
        """Return the passwords of these logins in a folder; create the missing ones."""
        folder = data / self.names[0]
        folder.mkdir(parents=True, exist_ok=True)
        return read_logins(folder, names)

    def login_commands(self, logins: Mapping[str, str], address: str) -> str:
        """Return the commands that create the logins of the apps on an external server.

        They contain hashes of the passwords. `address` is that of the server, empty if unknown.
        """

    def variables(self, address: str) -> dict[str, str]:
        """Return the variables from which components read an address and its login."""
        return {self.env: address}

    def address_from(self, environ: Mapping[str, str]) -> str:
        """Return the address with its login from these variables; raise SettingError without."""
        return text(environ, self.env)

    def sweep(self, data: Path) -> None:
        """Kill the remaining processes of a killed server, given its data folder."""
        del data  # most servers leave none

    def drop_removed_bytes(self, address: str, deadline: Deadline, restart: Callable[[], None]) -> None:
        """Make the server drop the bytes of removed data from its files, and wait for the end.

        `restart` kills the server, and waits until it serves again.
        """
        restart()

    def contents(self, address: str) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the content of each part that its files may have in another form."""
        del address  # the files of most servers have the bytes as they are
        yield from ()

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

    trimmer_module: str = ""
    """The module of the program that removes the events which all consumers have.

    It is empty for a broker that removes them itself.
    """

    def missing(self, address: str, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return the subscriptions that the broker does not know yet.

        Events published earlier would be lost.
        """

    def unread(self, address: str, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return the subscriptions with the wrong number of readers."""

    def remove(self, address: str, gone: Sequence[Subscription]) -> int:
        """Delete the broker's data for removed subscriptions; return how many it found."""

    def is_abandoned(
        self,
        address: str,
        some: Sequence[Subscription],
        every: Sequence[Subscription],
        read: Sequence[Subscription],
    ) -> bool:
        """Return whether the broker knows subscriptions of `some`, and they have no reader.

        A broker that knows readers by their reads asks for `every` subscription of the gateway: one
        without events has none. A reader of `read` shows that the broker works.
        """

    def skip_backlog(self, address: str, new: Sequence[Subscription]) -> None:
        """Make consumers without readers start with the next event, regardless of earlier ones."""

    def waiting(self, address: str, expected: Sequence[Subscription]) -> dict[Subscription, int]:
        """Return the number of waiting events; cheap enough for a call every few seconds.

        These are the undelivered ones. If the broker tells, they include those that were delivered
        and not acknowledged for longer than STALLED_SECONDS.
        """

    def lag(self, address: str, expected: Sequence[Subscription]) -> BrokerLag:
        """Return the lag of the consumers of these topics, and what the broker keeps of them."""
