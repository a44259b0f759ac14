"""`sidecart completion`: print the script that completes commands and options in a shell."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from sidecart.cli.group import COMPLETE_VARIABLE, PROGRAM, group
from sidecart.launcher.errors import LaunchError

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    epilog="bash: put `source <(./sidecart completion bash)` into ~/.bashrc. It completes `sidecart` and `./sidecart`. "
    "zsh and fish call the program `sidecart`, so its folder must be in PATH.",
)
@click.argument("shell", type=click.Choice(SHELLS), required=False, help="the shell (default: the one in $SHELL)")
def command(shell: str | None) -> int:
    """Print the script that completes commands, options and their values in your shell."""
    name = shell or Path(os.environ.get("SHELL", "")).name
    completion = get_completion_class(name) if name in SHELLS else None
    if completion is None:
        raise LaunchError(f"no completion for the shell {name!r} of $SHELL: choose from {', '.join(SHELLS)}")
    print(completion(group, {}, PROGRAM, COMPLETE_VARIABLE).source(), end="")
    return 0
