"""The `sidecart` command: finds the subcommand, imports its module, and runs it."""

import argparse
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sidecart.cli.commands import TOOLKIT, Command, of_project
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.project import root

NAME_COLUMNS = 14
"""The width of the names of the project's commands in the help."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    For an error that the caller can fix, print one line on stderr and return 1.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parsed(words)
        command: Callable[[argparse.Namespace], int] = options.command
        return command(options)
    except LaunchError as error:
        print(f"sidecart: {error}", file=sys.stderr)
        return 1
    except (Interrupted, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # the reader closed the pipe, as in `sidecart logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parsed(words: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Only the module of the chosen command is imported."""
    chosen = words[0] if words else ""
    project = {} if chosen in TOOLKIT else _of_project()
    parser = argparse.ArgumentParser(
        prog="sidecart",
        description="Runs, watches and checks an event-driven system on Dapr sidecars.",
        epilog=_listed(project),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in {**TOOLKIT, **project}.items():
        # argparse lists a command that has `help`; the epilog lists the project's
        listed: dict[str, Any] = {"help": command.help} if name in TOOLKIT else {}
        one = commands.add_parser(name, description=command.help, **listed)
        if name == chosen:
            command.add_arguments(name, one)
    return parser.parse_args(words)


def _of_project() -> dict[str, Command]:
    try:
        folder = root()
    except LaunchError:
        return {}  # there is no project here, and the toolkit's own commands remain
    return of_project(folder)


def _listed(commands: Mapping[str, Command]) -> str:
    """Format the project's commands in the way of argparse."""
    if not commands:
        return ""
    width = shutil.get_terminal_size().columns - 2
    lines = ["commands of this project:"]
    for name, command in commands.items():
        text = textwrap.wrap(command.help, max(width - NAME_COLUMNS - 4, 11), break_on_hyphens=False)
        lines += [f"    {name:{NAME_COLUMNS}}{text[0]}", *(" " * (NAME_COLUMNS + 4) + each for each in text[1:])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
