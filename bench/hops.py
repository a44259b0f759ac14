"""Where the time of one held order goes: each hop, with the sidecars' share.

Of a hop that goes through a sidecar, what broker or store take is known by the sidecar's own metrics; the rest is the
sidecar, and the HTTP between it and the app.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession

from bench.component_times import EGRESS, STATE, ComponentTimes, Metered, Series
from bench.measure import PAUSE_SECONDS
from bench.shopper import Shopper
from bench.stamped import program
from bench.systems import of_shop
from cli.shop import Options

ORDERS, QUICK_ORDERS = 300, 50
PUBLISH = "/v1.0/publish/pubsub/"
COMMAND, SAVE, EVENT = "command: publish, broker, deliver", "order: save", "event: publish, broker, deliver"
THROUGH_A_SIDECAR = {
    COMMAND: Series("gateway", EGRESS, "topic", "OrderCreateRequested"),
    SAVE: Series("order", STATE, "operation", "set"),
    EVENT: Series("order", EGRESS, "topic", "OrderCreated"),
}


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
        (COMMAND, asked.start, taken.start),
        ("order: decode, decide", taken.start, saved.start),
        (SAVE, saved.start, saved.end),
        ("order: log, publish", saved.end, told.start),
        (EVENT, told.start, back.start),
        ("gateway: resume, answer", back.start, gateway.end),
        ("gateway to caller", gateway.end, answered),
    ]
    return {name: (end - start) / 1e6 for name, start, end in points}


def shares(ways: Sequence[Mapping[str, float]], components: Sequence[Mapping[str, float]]) -> list[Hop]:
    """The median of each part; of those through a sidecar, what is over the time of broker or store in this order."""

    def hop(name: str) -> Hop:
        over = [way[name] - own[name] for way, own in zip(ways, components, strict=True) if name in own]
        return Hop(name, statistics.median(way[name] for way in ways), statistics.median(over) if over else 0.0)

    return [hop(name) for name in ways[0]]


def measure(broker: str, folder: Path, say: Callable[[str], None], orders: int = ORDERS) -> list[Hop]:
    """Start a shop whose gateway and Order Service write down their spans, and order so many times, one by one."""
    spans = folder / "spans"
    replaced = {app_id: program(folder / app_id, app_id, spans) for app_id in ("gateway", "order")}
    with Metered(Options(broker, folder=folder, replaced=replaced), say) as shop:
        taken = asyncio.run(_orders(Shopper(of_shop(shop)), shop.metrics_ports, orders))
    every = [Span(app, what, int(start), int(end)) for app, what, start, end in map(str.split, spans.open())]
    ways = []
    for each in taken:
        within = [span for span in every if each.sent <= span.start <= each.answered]
        ways.append(hops_of(within, each.sent, each.answered))
    return shares(ways, [each.components for each in taken])


@dataclass(frozen=True, slots=True)
class _Order:
    """When it was sent and answered, and the milliseconds of broker and store on the way."""

    sent: int
    answered: int
    components: Mapping[str, float]


async def _orders(shopper: Shopper, metrics_ports: Mapping[str, int], orders: int) -> list[_Order]:
    taken = []
    async with shopper, ClientSession() as session:
        times = ComponentTimes(session, metrics_ports, THROUGH_A_SIDECAR)
        await shopper.register(100)
        for _ in range(orders):
            await times.since()
            await asyncio.sleep(PAUSE_SECONDS)
            sent = time.monotonic_ns()
            if await shopper.order() != 201:
                raise RuntimeError("an order that was to be measured was not answered 201")
            answered = time.monotonic_ns()
            of_held = await times.since()
            await shopper.settle()
            taken.append(_Order(sent, answered, of_held))
    return taken[orders // 5 :]


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
