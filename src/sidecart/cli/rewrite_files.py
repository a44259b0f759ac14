"""`sidecart rewrite-files`: make the servers drop removed data from their files, and search for a
text.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import click

from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.start import MAILS
from sidecart.launcher.project import home
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.server import Server
from sidecart.launcher.text_search import Wanted, files_with

END_SECONDS = 10.0
"""The time in which the launcher notices that a server ended, and starts it again."""


@click.command("rewrite-files", epilog="docs/how-to/erase-from-files.md has the steps for servers that you run.")
@click.option(
    "--search",
    is_flag=True,
    help="read a text from the terminal or the standard input, and list the places that still have it",
)
def command(search: bool) -> int:
    """Make the servers of the running system drop removed data from their files.

    PostgreSQL locks each table while it rewrites it. RabbitMQ is killed and started again, so
    requests get 503 or 202 meanwhile. The exit code is 1 if a place still has the text, apart from
    the delivered mails.
    """
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    if system.components:
        raise LaunchError("the launcher does not know the servers of a component folder")
    # not an option: other programs of the machine see command lines
    wanted = Wanted([click.prompt("text to search for", err=True).strip()]) if search else None
    servers = dict.fromkeys((BROKERS[system.broker], STORES[system.store]))
    try:
        for server in servers:
            _rewrite(server, system)
        left = [] if wanted is None else list(_places(servers, system, wanted))
    except OSError as error:
        raise LaunchError(str(error)) from error
    for place in left:
        print(f"still in: {place}")
    if wanted is not None:
        print(f"{len(left)} places have the text")
    return 1 if [each for each in left if not each.endswith(MAILS)] else 0


def _rewrite(server: Server, system: RunFile) -> None:
    name, deadline = server.names[0], Deadline()
    address = system.addresses[server.env]

    def restart() -> None:
        before = system.processes.get(name)
        if before is None:
            raise LaunchError(f"{name} was not started by the launcher: see docs/how-to/erase-from-files.md")
        os.kill(before, signal.SIGKILL)
        deadline.until(lambda: _pid(name) not in (None, before), END_SECONDS, lambda: f"{name} does not start again")
        deadline.until(
            lambda: server.check(address) is None, server.start_seconds, lambda: f"{name} does not answer", 0.2
        )

    server.drop_removed_bytes(address, deadline, restart)
    print(f"{name}: the files have no removed data")


def _pid(name: str) -> int | None:
    found = runfile.read()
    return None if found is None else found.processes.get(name)


def _places(servers: dict[Server, None], system: RunFile, wanted: Wanted) -> Iterator[str]:
    """Yield the places with the text, each once; a line must not have the text itself."""
    found = dict[str, None]()
    for server in servers:
        for name, content in server.contents(system.addresses[server.env]):
            if wanted.are_in(content):
                found[name] = None
    found |= {f"file {home() / name}": None for name in files_with(home(), wanted)}
    for name in found:
        yield "a key or a file whose name has the text" if wanted.are_in(name.encode()) else name
