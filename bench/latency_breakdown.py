"""The latency of one held order, segment by segment, with the sidecars' share.

For a segment that passes through a sidecar, bench/bare.py measures the latency of the broker or the
store alone. The rest is the sidecar, its clients, and the HTTP between sidecar and app.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bare import bare_hop, bare_save
from bench.measure import PAUSE_SECONDS
from bench.shopper import Shopper
from bench.stamped import program
from bench.systems import of_shop
from bench.unpaced import UNPACED
from sidecart.launcher.lifecycle.system import Options, System

ORDERS, QUICK_ORDERS = 300, 50
ON_THE_WAY = ("gateway", "order")
"""The apps whose spans are recorded: the 201 of a held order waits for no other app."""
PUBLISH = "/v1.0/publish/pubsub/"
FURTHER = re.compile(r"/v1\.0/publish/pubsub-\d+/")
COMMAND, SAVE, EVENT = "command: publish, broker, deliver", "order: save", "event: publish, broker, deliver"


@dataclass(frozen=True, slots=True)
class Span:
    """One action of an app, in nanoseconds of the monotonic clock."""

    app: str
    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of the path, in milliseconds: the median over the orders, and the sidecars' share
    of it.
    """

    name: str
    milliseconds: float
    sidecar_milliseconds: float = 0.0


def segments_of(spans: Sequence[Span], sent: int, answered: int) -> dict[str, float]:
    """Return the segments of one order's path in sequence, in milliseconds.

    A missing span raises KeyError.
    """
    found = {
        f"{span.app} {FURTHER.sub(PUBLISH, span.what)}": span
        for span in sorted(spans, key=lambda each: -each.start)
        if span.start >= sent
    }
    gateway = found["gateway serve:/order/create"]
    published = found[f"gateway call:POST:{PUBLISH}OrderCreateRequested"]
    taken = found["order serve:/events/inbox/OrderCreateRequested"]
    saved = found["order call:POST:/v1.0/state/statestore"]
    announced = found[f"order call:POST:{PUBLISH}OrderCreated"]
    replied = found["gateway serve:/events/replies/OrderCreated"]
    points = [
        ("caller to gateway", sent, gateway.start),
        ("gateway: read, check", gateway.start, published.start),
        (COMMAND, published.start, taken.start),
        ("order: decode, decide", taken.start, saved.start),
        (SAVE, saved.start, saved.end),
        ("order: outbox, publish", saved.end, announced.start),
        (EVENT, announced.start, replied.start),
        ("gateway: resume, answer", replied.start, gateway.end),
        ("gateway to caller", gateway.end, answered),
    ]
    return {name: (end - start) / 1e6 for name, start, end in points}


def shares(ways: Sequence[Mapping[str, float]], bare: Mapping[str, float]) -> list[Segment]:
    """Return the median of each segment.

    The sidecars' share of a segment is its excess over the broker's or the store's own latency.
    """

    def segment(name: str) -> Segment:
        median = statistics.median(way[name] for way in ways)
        return Segment(name, median, max(0.0, median - bare[name]) if name in bare else 0.0)

    return [segment(name) for name in ways[0]]


def measure(broker: str, folder: Path, say: Callable[[str], None], orders: int = ORDERS) -> list[Segment]:
    """Start a shop whose gateway and Order Service record their spans, and place the orders one by
    one.
    """
    spans = folder / "spans"
    replaced = {app_id: program(folder / app_id, app_id, spans) for app_id in ON_THE_WAY}
    with System(Options(broker, folder=folder, replaced=replaced, env=UNPACED), say) as shop:
        redis_url = f"redis://{shop.store_address}"
        segment = bare_hop(broker, redis_url if broker == "redis" else shop.broker_address, orders)
        bare = {COMMAND: segment, EVENT: segment, SAVE: bare_save(redis_url, orders)}
        times = asyncio.run(_orders(Shopper(of_shop(shop)), orders))
    every = [Span(app, what, int(start), int(end)) for app, what, start, end in map(str.split, spans.open())]
    ways = []
    for sent, answered in times:
        within = [each for each in every if sent <= each.start <= answered]
        ways.append(segments_of(within, sent, answered))
    return shares(ways, bare)


async def _orders(shopper: Shopper, orders: int) -> list[tuple[int, int]]:
    times = []
    async with shopper:
        await shopper.register(100)
        for _ in range(orders):
            await asyncio.sleep(PAUSE_SECONDS)
            sent = time.monotonic_ns()
            if await shopper.order() != 201:
                raise RuntimeError("a measured order was not answered 201")
            times.append((sent, time.monotonic_ns()))
            await shopper.settle()
    return times[orders // 5 :]


def _sums(segments: Sequence[Segment]) -> tuple[float, float]:
    return sum(each.milliseconds for each in segments), sum(each.sidecar_milliseconds for each in segments)


def table(found: Mapping[str, Sequence[Segment]]) -> str:
    """Return the segments of each broker as a Markdown table."""
    heads = [f"{broker}, ms | of which sidecars" for broker in found]
    lines = ["| segment | " + " | ".join(heads) + " |", "|---|" + "---:|---:|" * len(found)]
    sums = {broker: [*segments, Segment("sum", *_sums(segments))] for broker, segments in found.items()}
    for row in zip(*sums.values(), strict=True):
        cells = [f"{segment.milliseconds:.2f} | {segment.sidecar_milliseconds:.2f}" for segment in row]
        lines.append(f"| {row[0].name} | {' | '.join(cells)} |")
    return "\n".join(lines)
