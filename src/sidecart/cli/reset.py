"""`sidecart reset`: delete a stopped system's data."""

import argparse
import shutil

from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home


def add(parser: argparse.ArgumentParser) -> None:
    """Make this the parser of `sidecart reset`."""
    parser.set_defaults(command=reset)


def reset(options: argparse.Namespace) -> int:
    """Delete the data and logs of the system that `run` starts; refuse while it runs."""
    if runfile.is_locked():
        raise LaunchError("a system is running: stop it with ./sidecart stop first")
    for folder in (home() / "data", home() / "logs", home() / "run"):
        shutil.rmtree(folder, ignore_errors=True)
    print("data and logs are deleted")
    return 0
