"""Names that the project defines: they are read only when a value is checked or completed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from sidecart.launcher.errors import LaunchError


class OneOf(click.ParamType[str]):
    """A value that must be one of the names that `read` returns."""

    def __init__(self, name: str, read: Callable[[], Iterable[str]]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return a known name, or fail: a typo must not look like a name without results."""
        known = tuple(self._read())
        if value not in known:
            self.fail(f"unknown name {value!r}: choose from {', '.join(map(repr, known))}", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Return the known names that begin with the incomplete value."""
        return completions(self._read, incomplete)


def completions(read: Callable[[], Iterable[str]], incomplete: str) -> list[CompletionItem[str]]:
    """Return the names that begin with the incomplete value; none if they cannot be read."""
    try:
        return [CompletionItem(name) for name in read() if name.startswith(incomplete)]
    except LaunchError:
        return []  # the command itself reports the reason
