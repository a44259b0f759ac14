"""The subcommands: the toolkit's own, and those that a project declares in its pyproject.toml.

A project's command is an entry of the table `[tool.sidecart.commands]`:

    bench = { add = "bench.command:add_bench", help = "compare the system to one without sidecars" }

`add` is a function of the project. It gets the command's parser, adds the arguments, and sets the
default `command` to a function of the parsed options that returns the exit code.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import PROJECT_FILE, declared, load

TABLE = "[tool.sidecart.commands]"


@dataclass(frozen=True, slots=True)
class Command:
    """One subcommand: a reference to the function that adds its arguments, and its line of help."""

    add: str
    help: str

    def add_arguments(self, name: str, parser: argparse.ArgumentParser) -> None:
        """Import the command's module, and only this one; raise LaunchError if that fails."""
        add: Callable[[argparse.ArgumentParser], None] = load(self.add, f"the command `{name}`")
        add(parser)


TOOLKIT: Mapping[str, Command] = {
    "run": Command("sidecart.cli.run:add", "run the system until Ctrl-C (make run)"),
    "doctor": Command(
        "sidecart.doctor.command:add",
        "find configuration that can lose events, slow the system down or prevent startup",
    ),
    "status": Command("sidecart.cli.status:add", "show the processes of the running system"),
    "logs": Command("sidecart.cli.logs:add", "show the logs of the processes"),
    "stop": Command("sidecart.cli.stop:add", "stop the running system"),
    "dead-letters": Command(
        "sidecart.cli.dead_letter_commands:add", "manage the events that a service could not process"
    ),
    "reconcile": Command(
        "sidecart.cli.reconcile:add", "list the unfinished accepted requests and repeat their commands"
    ),
    "examples": Command("sidecart.cli.examples:add", "write the example events by running the services"),
    "contracts": Command("sidecart.cli.contracts:add", "compare the contracts with the newest release, and release them"),
    "reset": Command("sidecart.cli.reset:add", "delete the data and logs of the stopped system"),
}


def of_project(folder: Path) -> dict[str, Command]:
    """Return the commands that a project declares, by name; none if it has no pyproject.toml.

    Raises LaunchError, which names the file and the entry, for a wrong declaration.
    """
    file = folder / PROJECT_FILE
    found = declared(folder).get("commands", {})
    if not isinstance(found, dict):
        raise LaunchError(f"{file}: {TABLE} is not a table")
    return {name: _declared(file, name, entry) for name, entry in found.items()}


def _declared(file: Path, name: str, entry: Any) -> Command:
    if name in TOOLKIT:
        raise LaunchError(f"{file}: {TABLE} declares `{name}`, which is a command of the toolkit")
    match entry:
        case {"add": str(add), "help": str(text), **rest} if not rest:
            return Command(add, text)
    raise LaunchError(f'{file}: {TABLE} needs {name} = {{ add = "module:function", help = "..." }}')
