"""The CPU time of one call to a sidecar by both APIs: `python -m bench.sidecar_calls`.

Both clients call one daprd in turns, with a store of Redis and an in-memory broker. A turn sends
saves or publishes from HELD tasks, and measures the CPU time of this process and of daprd.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import uvloop

from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.launcher import daprd
from sidecart.launcher.apps import read_apps
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.sidecar import Sidecar as Ports
from sidecart.launcher.sidecar import command

ROUNDS = 5
CALLS = 6_000
HELD = 16
READY_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 20.0
RECORD = b'{"id": "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5", "outbox": [' + b'{"n": 1},' * 60 + b'{"n": 2}]}'
TOKEN = "out-token"
PUBSUB = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec: {type: pubsub.in-memory, version: v1}
"""
Work = Callable[[Sidecar, int], Awaitable[object]]


async def save(sidecar: Sidecar, number: int) -> None:
    """Write a new record."""
    await sidecar.save(f"{time.monotonic_ns()}-{number}", RECORD, None)


async def load(sidecar: Sidecar, number: int) -> None:
    """Read a record."""
    await sidecar.load("loaded")


async def publish(sidecar: Sidecar, number: int) -> None:
    """Publish an event."""
    await sidecar.publish("Lamp", RECORD)


@contextmanager
def sidecar() -> Iterator[tuple[Ports, psutil.Process]]:
    """Run one daprd with its store and broker."""
    with tempfile.TemporaryDirectory(prefix="sidecart-calls-") as name:
        folder, ports = Path(name), Ports("user", free_port(), free_port(), free_port(), None)
        processes, deadline = Processes(folder / "logs"), Deadline()
        (folder / "broker").mkdir()
        (folder / "broker" / "pubsub.yaml").write_text(PUBSUB, encoding="utf-8")
        try:
            address = STORES["redis"].start(processes, folder / "data", deadline)
            resources = [root() / "components" / "stores" / "redis", folder / "broker"]
            words = command(daprd.find(print, deadline).path, read_apps()["user"], ports, resources, [])
            env = {
                **plain_environment(),
                **STORES["redis"].variables(address),
                "DAPR_API_TOKEN": TOKEN,
                "GOMAXPROCS": "1",
            }
            yield ports, psutil.Process(processes.start("sidecar", words, env=env, cwd=root()))
        finally:
            processes.stop(["sidecar"], STOP_SECONDS_MAX)
            processes.stop([valkey.NAME], STOP_SECONDS_MAX)


async def turn(client: Sidecar, work: Work, daprd_process: psutil.Process) -> tuple[float, float]:
    """Return the microseconds of CPU time of one call, in this process and in daprd."""

    async def some(first: int) -> None:
        for number in range(first, CALLS, HELD):
            await work(client, number)

    def used() -> tuple[float, float]:
        times = daprd_process.cpu_times()
        return time.process_time(), times.user + times.system

    before = used()
    await asyncio.gather(*(some(first) for first in range(HELD)))
    return tuple((after - start) / CALLS * 1e6 for after, start in zip(used(), before, strict=True))  # type: ignore[return-value]  # two of two


async def measure() -> None:
    """Print the medians of all rounds."""
    with sidecar() as (ports, process):
        async with (
            connect(ports.http_port, TOKEN) as http,
            connect(ports.http_port, TOKEN, dapr_grpc_port=ports.grpc_port) as grpc,
        ):
            started = time.monotonic()
            while not await http.store_probe.answers():  # the sidecar does not report when it is up
                assert time.monotonic() - started < READY_SECONDS_MAX
                await asyncio.sleep(0.1)
            await http.insert("loaded", RECORD)
            print("| call | client | app, us of CPU | daprd, us of CPU |\n|---|---|---:|---:|")
            for work in (save, load, publish):
                found: dict[str, list[tuple[float, float]]] = {"HTTP/1.1": [], "gRPC": []}
                for _ in range(ROUNDS):
                    for name, client in (("HTTP/1.1", http), ("gRPC", grpc)):
                        found[name].append(await turn(client, work, process))
                for name, rounds in found.items():
                    app, other = (statistics.median(each) for each in zip(*rounds, strict=True))
                    print(f"| {work.__name__} | {name} | {app:.1f} | {other:.1f} |", flush=True)


if __name__ == "__main__":
    uvloop.run(measure())
