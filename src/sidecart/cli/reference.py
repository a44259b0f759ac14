"""The tables of commands and options in docs/reference/cli.md.

`.venv/bin/python -m sidecart.cli.reference --write` updates the page after a change of a command.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

import click

from sidecart.cli.group import PROGRAM, group
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

PAGE = "docs/reference/cli.md"
START, END = "<!-- generated: cli -->", "<!-- end -->"
WIDTH = 100
"""Columns of a line of prose in the project's documents."""
COLUMNS = ("option", "environment", "default", "meaning")


def reference() -> str:
    """Return the description of every command in Markdown."""
    return "\n".join(line for context in contexts() for line in _section(context))


def with_reference(page: str) -> str:
    """Return the page with a current block between its two markers."""
    before, start, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise LaunchError(f"{PAGE} needs the lines {START} and {END}")
    return f"{before}{START}\n\n{reference()}\n{END}{after}"


def contexts() -> Iterator[click.Context]:
    """Import every command and yield a context for each, a group before its own commands."""
    return _below(click.Context(group, info_name=f"./{PROGRAM}", **group.context_settings))


def _below(parent: click.Context) -> Iterator[click.Context]:
    if not isinstance(parent.command, click.Group):
        return
    for name in parent.command.list_commands(parent):
        command = parent.command.get_command(parent, name)
        if command is not None:
            context = click.Context(command, info_name=name, parent=parent)
            yield context
            yield from _below(context)


def _section(context: click.Context) -> Iterator[str]:
    """Yield the lines of one command: heading, description, table."""
    depth = len(context.command_path.split())
    yield from (f"{'#' * (depth + 1)} `{context.command_path}`", "")
    for text in (context.command.help, context.command.epilog):
        for paragraph in inspect.cleandoc(text or "").split("\n\n"):
            if paragraph:
                yield from (*textwrap.wrap(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False), "")
    if context.command.params:
        yield from (_row(COLUMNS), "|---|---|---|---|")
        yield from (_row(_cells(each, context)) for each in context.command.params)
        yield ""
    elif not isinstance(context.command, click.Group):
        yield from ("There are no options.", "")


def _cells(parameter: click.Parameter, context: click.Context) -> tuple[str, str, str, str]:
    environment = f"`{parameter.envvar}`" if isinstance(parameter.envvar, str) else ""
    meaning = parameter.help or ""
    if not isinstance(parameter, click.Option):
        return f"`{parameter.make_metavar(context)}`", environment, "", meaning
    record = parameter.get_help_record(context)
    assert record is not None, f"{parameter.name} is hidden"
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    else:
        value = parameter.get_help_extra(context).get("default", "")
        default = f"`{value}`" if value else ""
    return f"`{record[0]}`", environment, default, meaning


def _row(cells: tuple[str, str, str, str]) -> str:
    """Format a row of a table; a bar inside a cell is escaped."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


@click.command()
@click.option("--write", is_flag=True, help=f"write the block into {PAGE} (default: print it)")
def command(write: bool) -> None:
    """Print the description of every command, or write it into the page."""
    if not write:
        click.echo(reference())
        return
    page = root() / PAGE
    page.write_text(with_reference(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    command()
