"""The state of the apps of the running system, or of the one on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sidecart.launcher import runfile
from sidecart.launcher.dead_letters import State
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.running_state import RunningState


@contextmanager
def state_of(context: str | None) -> Iterator[State]:
    """Yield the state of the running system, or of the one on a cluster."""
    if context is None:
        yield running()
        return
    from sidecart.cli.cluster import system_on  # other systems need no kubectl
    from sidecart.kubernetes.forwards import running_state

    with running_state(system_on(context), Deadline()) as state:
        yield state


def running() -> State:
    """Return the state of the running system; raise LaunchError without one."""
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    return RunningState(system.ports, system.tokens)
