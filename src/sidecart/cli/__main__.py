"""The `sidecart` command: parses the command line, runs the chosen command, and reports errors."""

import os
import sys
from collections.abc import Sequence

import click
from click.exceptions import Exit
from click.shell_completion import shell_complete

from sidecart.cli.group import COMPLETE_VARIABLE, PROGRAM, group
from sidecart.launcher.errors import Interrupted, LaunchError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    For an error that the caller can fix, print one line on stderr and return 1. For a wrong command
    line, print the usage too and return 2.
    """
    words = sys.argv[1:] if arguments is None else [*arguments]
    try:
        if instruction := os.environ.get(COMPLETE_VARIABLE):
            return _complete(instruction)
        return _run(words)
    except LaunchError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except Exit as request:  # such as the end of --help
        return request.exit_code
    except (Interrupted, KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:  # the reader closed the pipe, as in `sidecart logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(words: list[str]) -> int:
    # group.main() would exit with 1 for a closed pipe
    with group.make_context(PROGRAM, words) as context:
        code = group.invoke(context)
        return code if isinstance(code, int) else 0


def _complete(instruction: str) -> int:
    """Print the completions of the command line that a shell has put into the environment."""
    try:
        return shell_complete(group, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    except LaunchError:
        return 1  # a message would disturb the line that is being typed


if __name__ == "__main__":
    sys.exit(main())
