"""`sidecart stop`: stop the running system."""

import os
import signal

import click

from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home


@click.command("stop")
@click.option("--seconds", type=float, default=90, metavar="SECONDS", help="how many seconds to wait for the stop")
def command(seconds: float) -> int:
    """Stop the running system: ask its launcher to end it, and wait until it has.

    The exit code is 1 if the system did not stop in time.
    """
    found = runfile.read()
    if found is None:
        print("no system is running")
        return 0
    os.kill(found.launcher, signal.SIGTERM)
    deadline = Deadline()
    try:
        deadline.until(lambda: not runfile.is_locked(), seconds, lambda: "it is still running")
    except LaunchError:
        print(f"the launcher (pid {found.launcher}) did not stop within {seconds:g} s: see {home() / 'logs'}")
        return 1
    print("stopped")
    return 0
