"""`sidecart logs`: print the logs of the running or the last system."""

import argparse
import time
from pathlib import Path

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home
from sidecart.launcher.rotation import Follower, last_lines

FOLLOW_SECONDS = 0.3


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart logs`."""
    parser.add_argument("name", nargs="?", help="the process, such as gateway or gateway-sidecar (default: all)")
    parser.add_argument("-f", "--follow", action="store_true", help="keep printing new lines")
    parser.add_argument("-n", "--lines", type=int, default=20, help="the number of lines per process (default 20)")
    parser.set_defaults(command=logs)


def log_folder() -> Path:
    """Return the folder of the logs of the system that `run` starts."""
    return home() / "logs"


def logs(options: argparse.Namespace) -> int:
    """Print the end of one log or of all logs, and new lines with -f."""
    folder = log_folder()
    files = sorted(folder.glob("*.log")) if options.name is None else [folder / f"{options.name}.log"]
    files = [file for file in files if file.exists()]
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        raise LaunchError(f"no such log in {folder}; available: {known}")
    width = max(len(file.stem) for file in files)
    width = width if len(files) > 1 else 0
    followers = [Follower(file, file.stat().st_size) for file in files]
    for file in files:
        _print_lines(file, last_lines(file, options.lines), width)
    try:
        while options.follow:
            time.sleep(FOLLOW_SECONDS)
            for each in followers:
                _print_lines(each.log, each.read().decode(errors="replace").splitlines(), width)
    except KeyboardInterrupt:
        pass
    return 0


def _print_lines(file: Path, lines: list[str], width: int) -> None:
    for line in lines:
        print(f"{file.stem:{width}} | {line}" if width else line, flush=True)
