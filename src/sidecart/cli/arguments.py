"""Options that several commands have, and the types of their values."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import click

from sidecart.launcher.servers.registry import BROKERS, STORES

DEFAULT = "redis"
"""The broker and the store without a choice."""

PATH = click.Path(path_type=Path, readable=False)
"""A path of any kind: the command itself reports a missing or unreadable one."""


class Replacement(click.ParamType[tuple[str, Path]]):
    """An app, and the folder of the program that replaces it."""

    name = "app=folder"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        """Split APP=FOLDER."""
        app_id, _, folder = value.partition("=")
        if not app_id or not folder:
            self.fail(f"{value} is not APP=FOLDER", param, ctx)
        return app_id, Path(folder)


class Replicas(click.ParamType[tuple[str, int]]):
    """A service, and the number of its replicas."""

    name = "service=n"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split SERVICE=N."""
        service, _, number = value.partition("=")
        if not service or not number.isdecimal():
            self.fail(f"{value} is not SERVICE=NUMBER", param, ctx)
        return service, int(number)


class Text(click.ParamType[str]):
    """A text with a visible character: an empty one, as of an unset variable, would select all."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or fail."""
        if not value.strip():
            self.fail("the value is empty", param, ctx)
        return value


class Time(click.ParamType[str]):
    """The beginning of a time in UTC, from a day to fractions of a second."""

    name = "time"
    FORM = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?", re.ASCII)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the time without a zone, or fail."""
        found = value.removesuffix("Z")
        try:
            datetime.fromisoformat(found)
        except ValueError:
            found = ""
        if not self.FORM.fullmatch(found):
            self.fail(f"{value!r} is no time in UTC, such as 2026-01-15 or 2026-01-15T09:30", param, ctx)
        return found


broker_option = click.option(
    "--broker", type=click.Choice(BROKERS), envvar="BROKER", show_envvar=True, default=DEFAULT, help="the broker"
)
store_option = click.option(
    "--store", type=click.Choice(STORES), envvar="STORE", show_envvar=True, default=DEFAULT, help="the state store"
)
kubernetes_option = click.option(
    "--kubernetes",
    "context",
    type=Text(),
    metavar="CONTEXT",
    help="use the system on the cluster of this context of the kubeconfig; `current` is the current one",
)
with_option = click.option(
    "--with",
    "replaced",
    type=Replacement(),
    multiple=True,
    help="replace an app by the program in this folder, as its dapr.yaml defines it; repeatable",
)
