"""`sidecart logs`: print the logs of the running or the last system."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from sidecart.cli.arguments import Text, kubernetes_option
from sidecart.cli.names import completions
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home
from sidecart.launcher.rotation import Follower, last_lines

FOLLOW_SECONDS = 0.3


@click.command("logs")
@click.argument(
    "name",
    required=False,
    type=Text(),
    shell_complete=lambda _context, _param, incomplete: completions(_names, incomplete),
    help="the process, such as gateway or gateway-sidecar (default: all); on a cluster also a pod",
)
@click.option("-f", "--follow", is_flag=True, help="keep printing new lines")
@click.option("-n", "--lines", type=int, default=20, metavar="N", help="the number of lines per process")
@click.option("--json", "as_json", is_flag=True, help="print each line as one JSON object with `process` and `line`")
@kubernetes_option
def command(name: str | None, follow: bool, lines: int, as_json: bool, context: str | None) -> int:
    """Show the logs of the processes: the end of one log or of all logs."""
    if context is not None:
        from sidecart.cli import cluster_logs  # other systems need no kubectl

        return cluster_logs.show(
            context, name, follow, lines, lambda names: _formatted_as_json if as_json else _aligned(names)
        )
    folder = log_folder()
    files = sorted(folder.glob("*.log")) if name is None else [folder / f"{name}.log"]
    files = [file for file in files if file.exists()]
    if not files:
        raise LaunchError(f"no such log in {folder}; available: {', '.join(_names()) or 'none yet'}")
    shown: Format = _formatted_as_json if as_json else _aligned([file.stem for file in files])
    followers = [Follower(file, file.stat().st_size) for file in files]
    for file in files:
        _print_lines(file, last_lines(file, lines), shown)
    try:
        while follow:
            time.sleep(FOLLOW_SECONDS)
            for each in followers:
                _print_lines(each.log, each.read().decode(errors="replace").splitlines(), shown)
    except KeyboardInterrupt:
        pass
    return 0


def log_folder() -> Path:
    """Return the folder of the logs of the system that `run` starts."""
    return home() / "logs"


def _names() -> list[str]:
    return sorted(file.stem for file in log_folder().glob("*.log"))


Format = Callable[[str, str], str]
"""Formats a line of a process, by the name of the process and its line."""


def _formatted_as_json(process: str, line: str) -> str:
    return json.dumps({"process": process, "line": line})


def _aligned(names: Sequence[str]) -> Format:
    """Return the format with a column of names; one process alone needs no name."""
    if len(names) == 1:
        return lambda _process, line: line
    width = max(map(len, names))
    return lambda process, line: f"{process:{width}} | {line}"


def _print_lines(file: Path, lines: Iterable[str], shown: Format) -> None:
    for line in lines:
        print(shown(file.stem, line), flush=True)
