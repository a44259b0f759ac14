"""`sidecart rewrite-files`: make the servers drop removed data from their files, and search for a
text.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

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
    problems = [each for each in (_rewrite(server, system) for server in servers) if each is not None]
    left = [] if wanted is None else _places(servers, system, wanted, problems)
    for place in left:
        print(f"still in: {place}")
    if wanted is not None:
        print(f"{len(left)} places have the text")
    if problems:
        raise LaunchError("\n".join(problems))
    return 1 if [each for each in left if not each.endswith(MAILS)] else 0


def _rewrite(server: Server, system: RunFile) -> str | None:
    """Make one server rewrite its files; return why it did not, or None."""
    name, deadline = server.names[0], Deadline()
    address = system.addresses[server.env]

    def restart() -> None:
        before = system.processes.get(name)
        if before is None:
            raise LaunchError(
                "the launcher did not start it, and cannot restart it: see docs/how-to/erase-from-files.md"
            )
        os.kill(before, signal.SIGKILL)
        deadline.until(lambda: _pid(name) not in (None, before), END_SECONDS, lambda: f"{name} does not start again")
        deadline.until(
            lambda: server.check(address) is None, server.start_seconds, lambda: f"{name} does not answer", 0.2
        )

    try:
        server.drop_removed_bytes(address, deadline, restart)
    except (LaunchError, OSError) as error:
        return f"{name}: {error}"
    print(f"{name}: the files are rewritten")
    return None


def _pid(name: str) -> int | None:
    found = runfile.read()
    return None if found is None else found.processes.get(name)


def _places(servers: Iterable[Server], system: RunFile, wanted: Wanted, problems: list[str]) -> list[str]:
    """Return the places with the text, each once, and by a name that lacks the text.

    Add the servers that cannot be searched to the problems.
    """
    found = dict[str, None]()
    for server in servers:
        try:
            contents = server.contents(system.addresses[server.env])
            found |= {name: None for name, content in contents if wanted.are_in(content)}
        except OSError as error:
            problems.append(f"{server.names[0]} cannot be searched: {error}")
    found |= {f"file {home() / name}": None for name in files_with(home(), wanted)}
    return ["a key or a file whose name has the text" if wanted.are_in(name.encode()) else name for name in found]
