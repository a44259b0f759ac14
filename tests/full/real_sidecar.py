"""One real sidecar with a store and, if wanted, a broker, for the tests of its client."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sidecart.chassis.sidecar import Sidecar
from sidecart.launcher import daprd
from sidecart.launcher.apps import read_apps
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.sidecar import Sidecar as Ports
from sidecart.launcher.sidecar import command

NAME = "sidecar"
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 20.0


def new_ports() -> Ports:
    """Return free ports of a sidecar without an app."""
    return Ports("user", free_port(), free_port(), free_port(), None)


def start(
    processes: Processes, ports: Ports, store: str, address: str, *more: Path, token: str = "", app: str = "user"
) -> int:
    """Start a sidecar with this store and more folders of components, and return its process id."""
    resources = [root() / "components" / "stores" / store, *more]
    words = command(daprd.find(print, Deadline()).path, read_apps()[app], ports, resources, [])
    env = {**plain_environment(), **STORES[store].variables(address), **({"DAPR_API_TOKEN": token} if token else {})}
    return processes.start(NAME, words, env=env, cwd=root())


async def until_ready(sidecar: Sidecar) -> None:
    """Wait until the sidecar writes and reads; it does not report when it is up."""
    started = time.monotonic()
    while not await sidecar.store_probe.answers():  # no event announces it
        assert time.monotonic() - started < READY_SECONDS_MAX
        await asyncio.sleep(0.1)
