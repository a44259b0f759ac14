"""The tables of a run, as Markdown."""

import os
import platform
from collections.abc import Sequence

from bench.load import Load, percentile
from bench.measure import HELD, Result, Round
from cli.catalogue import APPS

P50_RATIO_MAX = 1.6
COMPLETED_RATIO_MIN = 0.15
SIDECARS = [f"{app_id}-sidecar" for app_id in APPS]


def report(results: Sequence[Result]) -> str:
    """All tables, one after the other."""
    return "\n\n".join([_machine(), _speed(results), _cpu(results), _memory(results)])


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _speed(results: Sequence[Result]) -> str:
    def row(name: str, *values: str) -> list[str]:
        return [name, *values]

    def times(name: str, pick: str) -> list[str]:
        return row(name, *(_milliseconds(result, pick) for result in results))

    rows = [
        times("one held request of the floor, alone: p50 / p99", "floor_alone"),
        times("one held order, alone: p50 / p99", "order_alone"),
        row("ratio of the p50s", *(f"{result.p50_ratio:.2f} x" for result in results)),
        times("floor, one caller, one after the other: p50 / p99", "floor_in_turn"),
        times("held order, one caller, one after the other: p50 / p99", "order_in_turn"),
        row("ratio of the p50s", *(f"{result.in_turn_ratio:.2f} x" for result in results)),
        times("one order to its accepted mail, alone: p50 / p99", "mail_alone"),
        row(f"floor, {HELD} held", *(f"{result.median(_floor):.0f} requests/s" for result in results)),
        row(f"held orders, {HELD} held", *(f"{result.median(_held):.0f} orders/s" for result in results)),
        times(f"held order, {HELD} held: p50 / p99", "order_held"),
        row("ratio to the floor", *(f"{result.held_ratio:.2f} x" for result in results)),
        row(
            "completed orders (to the accepted mail)",
            *(f"{result.median(_completed):.0f} orders/s" for result in results),
        ),
        row("ratio to the floor", *(f"{result.completed_ratio:.3f} x" for result in results)),
        row("orders answered 201 / otherwise", *(_answers(result) for result in results)),
    ]
    heads = ["median of the rounds", *(result.broker for result in results)]
    verdicts = [
        f"On {result.broker}: p50 of one held order {result.p50_ratio:.2f} x (at most {P50_RATIO_MAX} wanted), "
        f"completed orders {result.completed_ratio:.3f} x (at least {COMPLETED_RATIO_MIN} wanted)."
        for result in results
        if result.broker == "redis"
    ]
    return "\n\n".join([_table(heads, rows), *verdicts])


def _floor(each: Round) -> float:
    return each.floor_held.per_second


def _held(each: Round) -> float:
    return each.order_held.per_second


def _completed(each: Round) -> float:
    return each.completed_per_second


def _milliseconds(result: Result, pick: str) -> str:
    def at(percent: float) -> float:
        def one(each: Round) -> float:
            load: Load = getattr(each, pick)
            return percentile(load.milliseconds, percent)

        return result.median(one)

    return f"{at(50):.1f} / {at(99):.1f} ms"


def _answers(result: Result) -> str:
    return f"{result.statuses[201]} / {result.statuses.total() - result.statuses[201]}"


def _cpu(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result.rounds[0].cpu_ms_per_order))
    rows = []
    for name in names:
        cells = []
        for result in results:
            known = name in result.rounds[0].cpu_ms_per_order
            cells.append(f"{result.median(lambda each, name=name: each.cpu_ms_per_order[name]):.2f}" if known else "")  # type: ignore[misc]  # bound now
        rows.append([name, *cells])
    totals = [f"{result.median(lambda each: sum(each.cpu_ms_per_order.values())):.2f}" for result in results]
    heads = ["CPU, ms per completed order", *(result.broker for result in results)]
    return _table(heads, [*rows, ["all", *totals]])


def _memory(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(name for result in results for name in result.resident_mib))
    rows = [
        [name, *(f"{r.resident_mib[name]:.0f}" if name in r.resident_mib else "" for r in results)] for name in names
    ]
    return _table(["resident memory, MiB, at the end", *(result.broker for result in results)], rows)
