"""The commands: the toolkit's own, and those that a project declares in its pyproject.toml.

A project's command is an entry of the table `[tool.sidecart.commands]`:

    bench = { command = "bench.command:bench", help = "compare the system to one without sidecars" }

`command` names a `click.Command` of the project, whose function returns the exit code.
"""

import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from sidecart.cli.signal_handlers import end_at_once
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import PROJECT_FILE, declared, load

TABLE = "[tool.sidecart.commands]"


@dataclass(frozen=True, slots=True)
class CommandReference:
    """The place of one command, as `module:name`, and its line of help."""

    command: str
    help: str

    def load(self, name: str) -> click.Command:
        """Import the command's module, and only this one; raise LaunchError if that fails."""
        with _ending_at_once():
            found = load(self.command, f"the command `{name}`")
        if not isinstance(found, click.Command):
            raise LaunchError(f"the command `{name}` cannot be loaded from `{self.command}`: this is no click.Command")
        return found


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """End this process at once by SIGINT or SIGTERM during the block: nothing has started yet.

    An exception of a signal handler does not pass through an import: modules in C replace it with
    an ImportError of their own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.signal(number, end_at_once) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


TOOLKIT: Mapping[str, CommandReference] = {
    "run": CommandReference("sidecart.cli.run:command", "run the system until Ctrl-C (make run)"),
    "doctor": CommandReference(
        "sidecart.doctor.command:command",
        "find configuration that can lose events, slow the system down or prevent startup",
    ),
    "status": CommandReference("sidecart.cli.status:command", "show the processes of the running system"),
    "logs": CommandReference("sidecart.cli.logs:command", "show the logs of the processes"),
    "stop": CommandReference("sidecart.cli.stop:command", "stop the running system"),
    "dead-letters": CommandReference(
        "sidecart.cli.dead_letter_commands:command", "manage the events that a service could not process"
    ),
    "audit-trail": CommandReference("sidecart.cli.audit_trail:command", "show who replayed, discarded or erased what"),
    "flow": CommandReference("sidecart.cli.flow:command", "show what happened to one id, from the records of all apps"),
    "reconcile": CommandReference(
        "sidecart.cli.reconcile:command", "list the unfinished accepted requests and repeat their commands"
    ),
    "examples": CommandReference("sidecart.cli.examples:command", "write the example events by running the services"),
    "contracts": CommandReference(
        "sidecart.cli.contracts:command", "compare the contracts with the newest release, and release them"
    ),
    "scopes": CommandReference(
        "sidecart.cli.scopes:command",
        "write which app may publish, read and call what",
    ),
    "manifests": CommandReference("sidecart.cli.manifests:command", "write the manifests for Kubernetes"),
    "kubernetes": CommandReference(
        "sidecart.cli.kubernetes_commands:command", "start the system on a Kubernetes cluster, and remove it"
    ),
    "token": CommandReference("sidecart.cli.token:command", "print an access token of the local issuer"),
    "rotate-key-secret": CommandReference(
        "sidecart.cli.rotate_key_secret:command", "replace the secret from which the ids of idempotency keys derive"
    ),
    "rewrite-files": CommandReference(
        "sidecart.cli.rewrite_files:command", "make the servers drop removed data from their files"
    ),
    "credentials": CommandReference(
        "sidecart.cli.credentials:command", "print how to create a login per app on your own servers"
    ),
    "reset": CommandReference("sidecart.cli.reset:command", "delete the data and logs of the stopped system"),
    "completion": CommandReference(
        "sidecart.cli.completion:command", "print the script that completes commands and options in your shell"
    ),
}


def of_project(folder: Path) -> dict[str, CommandReference]:
    """Return the commands that a project declares, by name; none if it has no pyproject.toml.

    Raises LaunchError, which names the file and the entry, for a wrong declaration.
    """
    file = folder / PROJECT_FILE
    found = declared(folder).get("commands", {})
    if not isinstance(found, dict):
        raise LaunchError(f"{file}: {TABLE} is not a table")
    return {name: _declared(file, name, entry) for name, entry in found.items()}


def _declared(file: Path, name: str, entry: Any) -> CommandReference:
    if name in TOOLKIT:
        raise LaunchError(f"{file}: {TABLE} declares `{name}`, which is a command of the toolkit")
    match entry:
        case {"command": str(command), "help": str(text), **rest} if not rest:
            return CommandReference(command, text)
    raise LaunchError(f'{file}: {TABLE} needs {name} = {{ command = "module:name", help = "..." }}')
