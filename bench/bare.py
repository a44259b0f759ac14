"""What the broker and the store take by themselves: their own clients, no sidecar, nothing else going on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from bench.load import percentile
from bench.peer.broker import connect
from bench.peer.store import Store

TIMES = 200
PAUSE_SECONDS = 0.03
EVENT = b"x" * 700
TOPIC = "Direct"


async def bare(broker_kind: str, broker_url: str, redis_url: str) -> Mapping[str, float]:
    """Median milliseconds of a publish, of the way of an event to a reader, of a load and of a save."""
    taken: asyncio.Queue[float] = asyncio.Queue()

    async def take(_body: bytes) -> None:
        taken.put_nowait(time.perf_counter())

    broker, store = connect(broker_kind, broker_url, [TOPIC]), Store(redis_url, "direct")
    broker.on(TOPIC, "direct", take)
    await broker.start()
    found: dict[str, list[float]] = {"publish": [], "hop": [], "load": [], "save": []}
    try:
        for number in range(TIMES):
            await asyncio.sleep(PAUSE_SECONDS)
            started = time.perf_counter()
            await broker.publish(TOPIC, EVENT)
            found["publish"].append(time.perf_counter() - started)
            found["hop"].append(await taken.get() - started)
            for name, work in (("load", store.load(f"k{number}")), ("save", store.save(f"k{number}", EVENT, None))):
                await asyncio.sleep(PAUSE_SECONDS)
                started = time.perf_counter()
                await work
                found[name].append(time.perf_counter() - started)
    finally:
        await broker.stop()
        await store.close()
    return {name: percentile(seconds, 50) * 1000 for name, seconds in found.items()}
