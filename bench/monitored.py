"""What the live page costs when nobody looks: the shop with its monitor and the same shop without, by turns."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.measure import HELD, completed_per_second
from bench.tried import Tried, by_turns, line
from bench.usage import resident_mib
from cli.fleet import sidecar_of
from cli.monitor import NAME
from cli.shop import Options, Shop

MUST = 0.97
"""Of the completed orders a second without it."""
APART_MAX = 1.15
"""The largest ratio of a round to the smallest: more is the machine's doing, and a median of that says nothing."""
NAMES = (NAME, sidecar_of(NAME))
COMPLETED = completed_per_second(HELD)


def measure(broker: str, say: Callable[[str], None], rounds: int, seconds: float) -> tuple[Tried, dict[str, float]]:
    """Both by turns, and what the monitor and its sidecar hold in memory, in MiB."""
    with tempfile.TemporaryDirectory(prefix="sidecart-monitored-") as name, ExitStack() as stack:
        without = stack.enter_context(Shop(Options(broker, folder=Path(name) / "without"), say))
        beside = stack.enter_context(Shop(Options(broker, folder=Path(name) / "with", monitor=True), say))
        what = f"{broker}: a monitor, and nobody looks"
        found = asyncio.run(by_turns(what, without, beside, rounds, seconds, say))
        memory = resident_mib({name: pid for name, pid in beside.processes.items() if name in NAMES})
    say(line(found))
    return found, memory


def verdict(broker: str, found: Tried) -> str:
    """The line that says whether it is within what it must be."""
    each = [value / other for value, other in _pairs(found)]
    ratio = statistics.median(each)
    held = "within what it must be" if ratio >= MUST else "MISSED"
    if max(each) > APART_MAX * min(each):
        held = "NOTHING IS SAID: the rounds are too far apart, measure on a machine that does nothing else"
    rounds = ", ".join(f"{one:.3f}" for one in each)
    what = f"{broker}: completed orders/s with a monitor and nobody looking, to without"
    return f"ratio  {what}: {ratio:.3f} x  (must >= {MUST}: {held}; the rounds: {rounds})"


def table(broker: str, found: Tried, memory: dict[str, float]) -> str:
    """As Markdown, round by round."""
    lines = [f"| {broker} | without | with | ratio |", "|---|---:|---:|---:|"]
    for number, (other, one) in enumerate(_pairs(found), start=1):
        lines.append(f"| round {number}: completed orders/s | {one:.0f} | {other:.0f} | {other / one:.3f} |")
    both = (found.as_it_is, found.otherwise)
    medians = [statistics.median(map(COMPLETED, turns)) for turns in both]
    lines.append(f"| median | {medians[0]:.0f} | {medians[1]:.0f} | {found.ratio(COMPLETED):.3f} |")
    for name in NAMES:
        cpu_ms = statistics.median(turn.levels[HELD].cpu_ms[name] for turn in found.otherwise)
        lines.append(f"| {name}: CPU, ms per completed order | | {cpu_ms:.3f} | |")
        lines.append(f"| {name}: resident memory, MiB | | {memory[name]:.0f} | |")
    whole = [statistics.median(turn.levels[HELD].shop_cpu_ms for turn in turns) for turns in both]
    lines.append(f"| all of the shop: CPU, ms per completed order | {whole[0]:.2f} | {whole[1]:.2f} | |")
    return "\n".join(lines)


def _pairs(found: Tried) -> list[tuple[float, float]]:
    """Round by round: with it, and without."""
    turns = zip(found.otherwise, found.as_it_is, strict=True)
    return [(COMPLETED(beside), COMPLETED(without)) for beside, without in turns]
