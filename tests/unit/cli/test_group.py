"""The commands: each has a help text, and only the chosen one is imported."""

import subprocess
import sys

import click
import pytest

from sidecart.cli.commands import TOOLKIT, of_project
from sidecart.cli.reference import contexts
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.project import root

MODULES = {name: each.command.partition(":")[0] for name, each in {**TOOLKIT, **of_project(root())}.items()}
CODE = "import sys; from sidecart.cli.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"


def commands_imported_by(*words: str) -> set[str]:
    """Return the modules of commands that a command line imports, in a process of its own."""
    command = [sys.executable, "-c", CODE, *words]
    done = subprocess.run(
        command, cwd=root(), env=plain_environment(), capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split()) & set(MODULES.values())


@pytest.mark.parametrize("name", ["status", "logs", "stop"])
def test_only_the_module_of_the_chosen_command_is_imported(name: str) -> None:
    """So the help of a command does not wait for the clients of every server."""
    assert {MODULES[name]} == commands_imported_by(name, "--help")


def test_the_list_of_commands_imports_none() -> None:
    """The lines come from the tables."""
    assert set() == commands_imported_by("--help")


@pytest.mark.parametrize("context", list(contexts()), ids=lambda each: each.command_path)
def test_each_command_and_each_parameter_has_a_help_text(context: click.Context) -> None:
    """The help of an option names its variable too."""
    assert context.command.help
    assert [] == [each.name for each in context.command.params if not each.help]
    options = [each for each in context.command.params if isinstance(each, click.Option)]
    assert [] == [each.name for each in options if each.envvar and not each.show_envvar]


def test_every_command_is_walked() -> None:
    """The other tests of this module would pass on an empty list."""
    paths = [context.command_path for context in contexts()]

    assert [f"./sidecart {name}" for name in MODULES] == [path for path in paths if path.count(" ") == 1]
    assert {"./sidecart dead-letters replay", "./sidecart contracts check"} <= set(paths)
