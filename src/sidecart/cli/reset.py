"""`sidecart reset`: delete a stopped system's data."""

import shutil

import click

from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home


@click.command("reset")
def command() -> int:
    """Delete the data and logs of the stopped system.

    The command refuses while the system runs.
    """
    if runfile.is_locked():
        raise LaunchError("a system is running: stop it with ./sidecart stop first")
    for folder in (home() / "data", home() / "logs", home() / "run"):
        shutil.rmtree(folder, ignore_errors=True)
    print("data and logs are deleted")
    return 0
