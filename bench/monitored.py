"""What the live page costs when nobody looks: one shop, its monitor started and stopped by turns.

One shop and not two beside each other: the monitor of the other one would run in both turns, and what an idle one takes
of the processor would be seen in neither.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import closed_loop
from bench.measure import HELD, WARM_SECONDS, Level, level_of
from bench.shopper import Shopper
from bench.systems import of_shop
from bench.usage import resident_mib
from cli.monitor import NAME
from cli.shop import Options, Shop
from cli.topology import sidecar_of

MUST = 0.97
"""Of the completed orders a second without it."""
APART_MAX = 1.15
"""The largest ratio of a round to the smallest: more is the machine's doing, and a median of that says nothing."""
NAMES = (NAME, sidecar_of(NAME))
TURNS = (False, True, True, False, True, False, False, True)
"""Whether the monitor runs, turn by turn of a round: a machine that grows slower meanwhile does so for both."""
USERS = 200
SETTLING_SECONDS = 1.0
"""Of load before each turn, not counted: a process was started or stopped just before."""


@dataclass(slots=True)
class MonitoredRound:
    """The turns of one round."""

    without_monitor: list[Level] = field(default_factory=list)
    with_monitor: list[Level] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Completed orders a second with a monitor, to without."""
        return completed(self.with_monitor) / completed(self.without_monitor)


@dataclass(slots=True)
class Monitored:
    """On one broker."""

    rounds: list[MonitoredRound] = field(default_factory=list)
    memory_mib: dict[str, float] = field(default_factory=dict)
    """Of the monitor and its sidecar at the end of the last turn of each."""

    @property
    def without_monitor(self) -> list[Level]:
        """All turns without a monitor."""
        return [level for each in self.rounds for level in each.without_monitor]

    @property
    def with_monitor(self) -> list[Level]:
        """All turns with one."""
        return [level for each in self.rounds for level in each.with_monitor]

    @property
    def statuses(self) -> Counter[int]:
        """Of all answers."""
        return sum((level.held.statuses for level in (*self.without_monitor, *self.with_monitor)), Counter())

    @property
    def ratio(self) -> float:
        """The median of the rounds."""
        return statistics.median(each.ratio for each in self.rounds)


def completed(levels: Sequence[Level]) -> float:
    """Orders a second, over turns of one length."""
    return statistics.mean(level.completed_per_second for level in levels)


def measure(broker: str, say: Callable[[str], None], rounds: int, seconds: float) -> Monitored:
    """So many rounds, each turn of so many seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="sidecart-monitored-") as name,
        Shop(Options(broker, folder=Path(name), monitor=True), say) as shop,
    ):
        return asyncio.run(_rounds(shop, rounds, seconds, say))


async def _rounds(shop: Shop, rounds: int, seconds: float, say: Callable[[str], None]) -> Monitored:
    found = Monitored()
    async with Shopper(of_shop(shop)) as shopper:
        await shopper.register(USERS)
        await closed_loop(shopper.order, HELD, WARM_SECONDS)
        for number in range(1, rounds + 1):
            this = MonitoredRound()
            for is_on in TURNS if number % 2 else TURNS[::-1]:
                await asyncio.to_thread(_switch, shop, is_on)
                await closed_loop(shopper.order, HELD, SETTLING_SECONDS)
                await shopper.settle()
                level = await level_of(shopper, HELD, seconds)
                (this.with_monitor if is_on else this.without_monitor).append(level)
                if is_on:
                    found.memory_mib = resident_mib({name: shop.processes[name] for name in NAMES})
            found.rounds.append(this)
            both = f"{completed(this.without_monitor):.0f} without and {completed(this.with_monitor):.0f} with"
            say(f"round {number} of {rounds}: completed orders/s {both}, {this.ratio:.3f} x")
    return found


def _switch(shop: Shop, is_on: bool) -> None:
    if is_on == (NAME in shop.processes):
        return
    (shop.start_monitor if is_on else shop.stop_monitor)()


def verdict(broker: str, found: Monitored) -> str:
    """The line that says whether it is within what it must be."""
    each = [one.ratio for one in found.rounds]
    held = "within what it must be" if found.ratio >= MUST else "MISSED"
    if max(each) > APART_MAX * min(each):
        held = "NOTHING IS SAID: the rounds are too far apart, measure on a machine that does nothing else"
    rounds = ", ".join(f"{one:.3f}" for one in each)
    what = f"{broker}: completed orders/s with a monitor and nobody looking, to without"
    return f"ratio  {what}: {found.ratio:.3f} x  (must >= {MUST}: {held}; the rounds: {rounds})"


def table(broker: str, found: Monitored) -> str:
    """As Markdown, round by round."""
    lines = [f"| {broker} | without | with | ratio |", "|---|---:|---:|---:|"]
    for number, one in enumerate(found.rounds, start=1):
        both = f"{completed(one.without_monitor):.0f} | {completed(one.with_monitor):.0f}"
        lines.append(f"| round {number}: completed orders/s | {both} | {one.ratio:.3f} |")
    lines.append(f"| median of the rounds | | | {found.ratio:.3f} |")
    together = completed(found.without_monitor), completed(found.with_monitor)
    lines.append(f"| all turns together | {together[0]:.1f} | {together[1]:.1f} | {together[1] / together[0]:.3f} |")
    whole = [
        statistics.median(level.shop_cpu_ms for level in levels)
        for levels in (found.without_monitor, found.with_monitor)
    ]
    ratio = whole[1] / whole[0]
    lines.append(f"| all processes: CPU, ms per completed order | {whole[0]:.2f} | {whole[1]:.2f} | {ratio:.3f} |")
    for name in NAMES:
        cpu_ms = statistics.median(level.cpu_ms[name] for level in found.with_monitor)
        lines.append(f"| {name}: CPU, ms per completed order | | {cpu_ms:.3f} | |")
        lines.append(f"| {name}: resident memory, MiB | | {found.memory_mib[name]:.0f} | |")
    return "\n".join(lines)
