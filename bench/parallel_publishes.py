"""Publishes on one to eight components of RabbitMQ: `python -m bench.parallel_publishes`.

One daprd has all of the components, with the settings of components/brokers/rabbitmq/pubsub.yaml.
In each round, a client publishes on the first one, two, four and eight of them by turns. A durable
queue keeps the newest events, so the broker writes each event before it confirms it.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import uvloop

from bench.sidecar_calls import READY_SECONDS_MAX, RECORD, STOP_SECONDS_MAX, TOKEN
from bench.usage import cpu_seconds
from sidecart.chassis.connections import Answer
from sidecart.chassis.publish_components import PublishComponents
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.launcher import daprd, topic_scopes
from sidecart.launcher.apps import read_apps
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.ports import free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers import rabbitmq, rabbitmq_queues
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.sidecar import Sidecar as Ports
from sidecart.launcher.sidecar import command

ROUNDS = 5
SECONDS = 5.0
HELD = 32
COUNTS = (1, 2, 4, 8)
TOPIC = "Lamp"
KEPT = 1_000


class Reported:
    """A sidecar that reports the first components only."""

    def __init__(self, count: int) -> None:
        self._names = names(count)

    async def metadata(self, seconds_max: float) -> Answer:
        """Report them."""
        found = [{"name": each, "type": "pubsub.rabbitmq"} for each in self._names]
        return Answer(200, msgspec.json.encode({"components": found}))


def names(count: int) -> list[str]:
    """Return the names of this many components."""
    return ["pubsub", *(f"pubsub-{number}" for number in range(2, count + 1))]


@contextmanager
def sidecar() -> Iterator[tuple[Ports, dict[str, int]]]:
    """Run one daprd with its broker; yield its ports and the processes."""
    with tempfile.TemporaryDirectory(prefix="sidecart-publishes-") as name:
        folder, ports = Path(name), Ports("user", free_port(), free_port(), free_port(), None)
        processes, deadline, broker = Processes(folder / "logs"), Deadline(), BROKERS["rabbitmq"]
        (folder / "broker").mkdir()
        text = (root() / "components/brokers/rabbitmq/pubsub.yaml").read_text(encoding="utf-8")
        for each in names(max(COUNTS)):
            renamed = text.replace("  name: pubsub\n", f"  name: {each}\n", 1)
            (folder / "broker" / f"{each}.yaml").write_text(renamed, encoding="utf-8")
        try:
            address = broker.start(processes, folder / "data", deadline)
            with rabbitmq_queues.connection(address) as connection:
                channel = connection.channel()
                channel.exchange_declare(TOPIC, "fanout", durable=True)
                channel.queue_declare("kept", durable=True, arguments={"x-max-length": KEPT})
                channel.queue_bind("kept", TOPIC)
            words = command(daprd.find(print, deadline).path, read_apps()["user"], ports, [folder / "broker"], [])
            env = {
                **plain_environment(),
                **broker.variables(address),
                **dict.fromkeys(topic_scopes.NAMES, ""),
                "DAPR_API_TOKEN": TOKEN,
                "GOMAXPROCS": "1",
            }
            processes.start("sidecar", words, env=env, cwd=root())
            running = processes.pids()
            yield ports, {"sidecar": running["sidecar"], "broker": running[rabbitmq.NAME]}
        finally:
            processes.stop(["sidecar"], STOP_SECONDS_MAX)
            processes.stop(list(broker.names), broker.stop_seconds)


async def turn(client: Sidecar, running: dict[str, int]) -> tuple[float, ...]:
    """Return events per second, and the microseconds of CPU time of one: app, sidecar, broker."""
    count, end = 0, time.monotonic() + SECONDS

    async def some() -> None:
        nonlocal count
        while time.monotonic() < end:
            await client.publish(TOPIC, RECORD)
            count += 1

    own, before, started = time.process_time(), cpu_seconds(running), time.monotonic()
    await asyncio.gather(*(some() for _ in range(HELD)))
    seconds, after = time.monotonic() - started, cpu_seconds(running)
    used = [time.process_time() - own, *(after[each] - before[each] for each in ("sidecar", "broker"))]
    return count / seconds, *(each * 1e6 / count for each in used)


async def clients(sidecars: Sequence[Sidecar]) -> None:
    """Let each client publish on as many components as COUNTS says."""
    for client, count in zip(sidecars, COUNTS, strict=True):
        client.publish_components = PublishComponents(Reported(count))
        await client.publish_components.find()


async def measure() -> None:
    """Print the medians of all rounds."""
    with sidecar() as (ports, running):
        async with connect(ports.http_port, TOKEN) as first:
            started = time.monotonic()
            while not await first.answers():  # the sidecar does not report when it is up
                assert time.monotonic() - started < READY_SECONDS_MAX
                await asyncio.sleep(0.1)
            sidecars = [Sidecar(first.api) for _ in COUNTS]
            await clients(sidecars)
            found: dict[int, list[tuple[float, ...]]] = {count: [] for count in COUNTS}
            for _ in range(ROUNDS):
                for client, count in zip(sidecars, COUNTS, strict=True):
                    found[count].append(await turn(client, running))
            print("| components | events/s | app, us of CPU | daprd, us of CPU | broker, us of CPU |")
            print("|---:|---:|---:|---:|---:|")
            for count, rounds in found.items():
                rate, *used = (statistics.median(each) for each in zip(*rounds, strict=True))
                print(f"| {count} | {rate:,.0f} | {' | '.join(f'{each:.0f}' for each in used)} |", flush=True)


if __name__ == "__main__":
    uvloop.run(measure())
