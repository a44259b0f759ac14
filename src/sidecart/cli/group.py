"""The group of all commands, which imports the module of a command only when it is chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import click
from click.shell_completion import CompletionItem

from sidecart.cli.commands import TOOLKIT, CommandReference, of_project
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

PROGRAM = "sidecart"
COMPLETE_VARIABLE = "_SIDECART_COMPLETE"
"""The variable in which the completion script of a shell asks for completions."""


class CommandGroup(click.Group):
    """A group that lists its commands from tables, without an import of their modules."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the toolkit's commands, then of the project's."""
        return [*TOOLKIT, *project_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command and return it; None for an unknown name.

        The toolkit's commands come first: a wrong declaration of the project must not stop them.
        """
        reference = TOOLKIT[cmd_name] if cmd_name in TOOLKIT else project_commands().get(cmd_name)
        return None if reference is None else reference.load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the chosen command; the error for an unknown one suggests similar names.

        click would search them in its own table, which is empty here.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=self.list_commands(ctx), ctx=ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the toolkit's commands, and in a section of their own the project's."""
        for heading, table in (("Commands", TOOLKIT), ("Commands of this project", project_commands())):
            if table:
                with formatter.section(heading):
                    formatter.write_dl([(name, each.help) for name, each in table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """Return the completions of a command's name, or of an option of the group."""
        table: Mapping[str, CommandReference] = TOOLKIT
        # a wrong declaration is reported when a command of the project runs
        with contextlib.suppress(LaunchError):
            table = {**TOOLKIT, **project_commands()}
        names = [CompletionItem(name, help=each.help) for name, each in table.items() if name.startswith(incomplete)]
        # click.Group would import each command for its help
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def project_commands() -> dict[str, CommandReference]:
    """Return the commands of the project; none where there is no project."""
    try:
        folder = root()
    except LaunchError:
        return {}
    return of_project(folder)


group = CommandGroup(
    PROGRAM,
    help="Runs, watches and checks an event-driven system on Dapr sidecars.",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
