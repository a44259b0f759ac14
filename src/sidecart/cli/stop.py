"""`sidecart stop`: stop the running system."""

import argparse
import os
import signal

from sidecart.cli.run import say
from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import home


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart stop`."""
    parser.add_argument("--seconds", type=float, default=90, help="how many seconds to wait for the stop (default 90)")
    parser.set_defaults(command=stop)


def stop(options: argparse.Namespace) -> int:
    """Ask the running system's launcher to stop it, and wait until it has."""
    found = runfile.read()
    if found is None:
        say("no system is running")
        return 0
    os.kill(found.launcher, signal.SIGTERM)
    deadline = Deadline()
    try:
        deadline.until(lambda: not runfile.is_locked(), options.seconds, lambda: "it is still running")
    except LaunchError:
        say(f"the launcher (pid {found.launcher}) did not stop within {options.seconds} s: see {home() / 'logs'}")
        return 1
    say("stopped")
    return 0
