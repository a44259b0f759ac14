"""Where the time of one held order goes: each hop, with the sidecars' share.

The share is too small so far: what it is compared with is a client in Python, which is slower than a sidecar.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.bare import bare
from bench.shopper import Shopper
from bench.stamped import program
from bench.systems import of_shop
from cli.shop import Options, Shop

ORDERS = 300
PAUSE_SECONDS = 0.03
PUBLISH = "/v1.0/publish/pubsub/"


@dataclass(frozen=True, slots=True)
class Span:
    """Something that an app did, in nanoseconds of the monotonic clock."""

    app: str
    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hop:
    """A part of the way, in milliseconds: the median over the orders, and what of it is the sidecars'."""

    name: str
    milliseconds: float
    sidecar_milliseconds: float = 0.0


def hops_of(spans: Sequence[Span], sent: int, answered: int) -> dict[str, float]:
    """The parts of one order's way, one after the other, in milliseconds; KeyError if it is not whole."""
    found = {
        f"{span.app} {span.what}": span for span in sorted(spans, key=lambda each: -each.start) if span.start >= sent
    }
    gateway = found["gateway serve:/order/create"]
    asked = found[f"gateway call:POST:{PUBLISH}OrderCreateRequested"]
    taken = found["order serve:/events/inbox/OrderCreateRequested"]
    saved = found["order call:POST:/v1.0/state/statestore"]
    told = found[f"order call:POST:{PUBLISH}OrderCreated"]
    back = found["gateway serve:/events/replies/OrderCreated"]
    points = [
        ("caller to gateway", sent, gateway.start),
        ("gateway: read, check", gateway.start, asked.start),
        ("command: publish, broker, deliver", asked.start, taken.start),
        ("order: decode, decide", taken.start, saved.start),
        ("order: save", saved.start, saved.end),
        ("order: log, publish", saved.end, told.start),
        ("event: publish, broker, deliver", told.start, back.start),
        ("gateway: resume, answer", back.start, gateway.end),
        ("gateway to caller", gateway.end, answered),
    ]
    return {name: (end - start) / 1e6 for name, start, end in points}


def shares(ways: Sequence[Mapping[str, float]], alone: Mapping[str, float]) -> list[Hop]:
    """The median of each part; of those through a sidecar, what is over what broker and store take by themselves."""

    def hop(name: str) -> Hop:
        median = statistics.median(way[name] for way in ways)
        own = alone["hop"] if "broker" in name else alone["save"] if name.endswith("save") else median
        return Hop(name, median, max(0.0, median - own))

    return [hop(name) for name in ways[0]]


def measure(broker: str, folder: Path, say: Callable[[str], None]) -> list[Hop]:
    """Start a shop whose gateway and Order Service write down their spans, and order one by one."""
    spans = folder / "spans"
    replaced = {app_id: program(folder / app_id, app_id, spans) for app_id in ("gateway", "order")}
    with Shop(Options(broker, folder=folder, replaced=replaced), say) as shop:
        url = shop.broker_address
        redis_url = f"redis://{shop.store_address}"
        alone = asyncio.run(bare(broker, redis_url if broker == "redis" else url, redis_url))
        times = asyncio.run(_orders(Shopper(of_shop(shop))))
    every = [Span(app, what, int(start), int(end)) for app, what, start, end in map(str.split, spans.open())]
    ways = []
    for sent, answered in times:
        within = [each for each in every if sent <= each.start <= answered]
        ways.append(hops_of(within, sent, answered))
    return shares(ways, alone)


async def _orders(shopper: Shopper) -> list[tuple[int, int]]:
    times = []
    async with shopper:
        await shopper.register(100)
        for _ in range(ORDERS):
            await asyncio.sleep(PAUSE_SECONDS)
            sent = time.monotonic_ns()
            if await shopper.order() != 201:
                raise RuntimeError("an order that was to be measured was not answered 201")
            times.append((sent, time.monotonic_ns()))
            await shopper.settle()
    return times[ORDERS // 5 :]


def _sums(hops: Sequence[Hop]) -> tuple[float, float]:
    return sum(each.milliseconds for each in hops), sum(each.sidecar_milliseconds for each in hops)


def table(found: Mapping[str, Sequence[Hop]]) -> str:
    """As Markdown."""
    heads = [f"{broker}, ms | of it the sidecars" for broker in found]
    lines = ["| hop | " + " | ".join(heads) + " |", "|---|" + "---:|---:|" * len(found)]
    sums = {broker: [*hops, Hop("sum", *_sums(hops))] for broker, hops in found.items()}
    for row in zip(*sums.values(), strict=True):
        cells = [f"{hop.milliseconds:.2f} | {hop.sidecar_milliseconds:.2f}" for hop in row]
        lines.append(f"| {row[0].name} | {' | '.join(cells)} |")
    return "\n".join(lines)
