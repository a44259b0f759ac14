"""The cost of the live page without viewers: one shop, its monitor started and stopped in turns.

The measurement uses one shop. With two shops side by side, the second one's monitor would run
during both kinds of turns. The CPU time of an idle monitor would then not show in the difference.
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
from bench.unpaced import UNPACED
from bench.usage import resident_mib
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.monitor import NAME
from sidecart.launcher.topology import sidecar_of

MUST = 0.97
"""The minimum ratio of completed orders a second with the monitor to without it."""
APART_MAX = 1.15
"""The maximum ratio of the largest round to the smallest. Above it, the machine's noise dominates
and the median has no meaning.
"""
NAMES = (NAME, sidecar_of(NAME))
TURNS = (False, True, True, False, True, False, False, True)
"""Whether the monitor runs, by turn of a round. The order is symmetric, so that a machine that
slows down affects both kinds alike.
"""
USERS = 200
SETTLING_SECONDS = 1.0
"""Load before each turn that is not counted, because a process has just started or stopped."""


@dataclass(slots=True)
class MonitoredRound:
    """The turns of one round."""

    without_monitor: list[Level] = field(default_factory=list)
    with_monitor: list[Level] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Completed orders a second with the monitor, relative to without it."""
        return completed(self.with_monitor) / completed(self.without_monitor)


@dataclass(slots=True)
class Monitored:
    """The results on one broker."""

    rounds: list[MonitoredRound] = field(default_factory=list)
    memory_mib: dict[str, float] = field(default_factory=dict)
    """Resident memory of the monitor and of its sidecar at the end of their last turn."""

    @property
    def without_monitor(self) -> list[Level]:
        """All turns without the monitor."""
        return [level for each in self.rounds for level in each.without_monitor]

    @property
    def with_monitor(self) -> list[Level]:
        """All turns with the monitor."""
        return [level for each in self.rounds for level in each.with_monitor]

    @property
    def statuses(self) -> Counter[int]:
        """The statuses of all responses."""
        return sum((level.held.statuses for level in (*self.without_monitor, *self.with_monitor)), Counter())

    @property
    def ratio(self) -> float:
        """The median over the rounds."""
        return statistics.median(each.ratio for each in self.rounds)


def completed(levels: Sequence[Level]) -> float:
    """Return the mean of completed orders a second, over turns of equal length."""
    return statistics.mean(level.completed_per_second for level in levels)


def measure(broker: str, say: Callable[[str], None], rounds: int, seconds: float) -> Monitored:
    """Measure this many rounds, with turns of this many seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="sidecart-monitored-") as name,
        System(Options(broker, folder=Path(name), monitor=True, env=UNPACED), say) as shop,
    ):
        return asyncio.run(_rounds(shop, rounds, seconds, say))


async def _rounds(shop: System, rounds: int, seconds: float, say: Callable[[str], None]) -> Monitored:
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


def _switch(shop: System, is_on: bool) -> None:
    if is_on == (NAME in shop.processes):
        return
    (shop.page.start if is_on else shop.page.stop)()


def verdict(broker: str, found: Monitored) -> str:
    """Return the line that compares the ratio with its limit."""
    each = [one.ratio for one in found.rounds]
    held = "limit met" if found.ratio >= MUST else "MISSED"
    if max(each) > APART_MAX * min(each):
        held = "INCONCLUSIVE: the rounds differ too much; measure on an idle machine"
    rounds = ", ".join(f"{one:.3f}" for one in each)
    what = f"{broker}: completed orders/s with a monitor without viewers, relative to none"
    return f"ratio  {what}: {found.ratio:.3f} x  (must >= {MUST}: {held}; the rounds: {rounds})"


def table(broker: str, found: Monitored) -> str:
    """Return a Markdown table with one row per round."""
    lines = [f"| {broker} | without | with | ratio |", "|---|---:|---:|---:|"]
    for number, one in enumerate(found.rounds, start=1):
        both = f"{completed(one.without_monitor):.0f} | {completed(one.with_monitor):.0f}"
        lines.append(f"| round {number}: completed orders/s | {both} | {one.ratio:.3f} |")
    lines.append(f"| median of the rounds | | | {found.ratio:.3f} |")
    combined = completed(found.without_monitor), completed(found.with_monitor)
    lines.append(f"| all turns together | {combined[0]:.1f} | {combined[1]:.1f} | {combined[1] / combined[0]:.3f} |")
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
