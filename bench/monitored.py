"""What the live page costs when nobody looks: the shop with its monitor and the same shop without, by turns."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from bench.measure import HELD, Turn, completed_per_second
from bench.tried import Tried, by_turns, line
from bench.usage import resident_mib
from cli.fleet import sidecar_of
from cli.monitor import NAME
from cli.shop import Options, Shop

MUST = 0.97
"""Of the completed orders a second without it."""
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
    ratio = found.ratio(COMPLETED)
    rounds = ", ".join(f"{each:.3f}" for each in _each(found, COMPLETED))
    held = "within what it must be" if ratio >= MUST else "MISSED"
    what = f"{broker}: completed orders/s with a monitor and nobody looking, to without"
    return f"ratio  {what}: {ratio:.3f} x  (must >= {MUST}: {held}; the rounds: {rounds})"


def table(broker: str, found: Tried, memory: dict[str, float]) -> str:
    """As Markdown, round by round."""
    lines = [f"| {broker} | without | with | ratio |", "|---|---:|---:|---:|"]
    pairs = zip(found.as_it_is, found.otherwise, strict=True)
    for number, (without, beside) in enumerate(pairs, start=1):
        one, other = COMPLETED(without), COMPLETED(beside)
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


def _each(found: Tried, value: Callable[[Turn], float]) -> list[float]:
    return [value(turn) / value(other) for turn, other in zip(found.otherwise, found.as_it_is, strict=True)]
