"""`sidecart bench`: measures both systems and the other parts; each part writes its own files."""

import asyncio
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from bench import experiments, growth, latency_breakdown, monitored, pages, plots, report
from bench.concurrency import CONCURRENCY_LEVELS, ConcurrencyLevel, concurrency
from bench.goals import BODY_KB, goals
from bench.growth import grow
from bench.measure import HELD, Plan, Result
from bench.rounds import measure
from bench.shopper import Shopper
from bench.systems import ours
from sidecart.cli.run import say
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS

REPORTS = root() / ".sidecart" / "bench"
QUICK = Plan(rounds=2, alone=40, seconds=4.0, levels=(HELD,), bodies_kb=(BODY_KB,), shares=(), floors=False)
QUICK_CONCURRENCY = (10_000,)
CONCURRENCY_USERS = 200
NUMBERS = re.compile(r"\[[-+.,\deE\s]+\]")


@dataclass(frozen=True, slots=True)
class Found:
    """The results of one part, and whether every order was answered 201."""

    table: str
    results: Any
    ratios: str = ""
    fine: bool = True
    drawn: tuple[str, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    """By their names on the part's page; without any, `table` is that of the part's name."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The brokers and the sizes of a measurement."""

    broker: str
    """A broker, or `all`."""
    quick: bool
    users: int
    rounds: int
    alone: int
    seconds: float
    variant: str = ""
    """Words in the names of the experiments to run."""


def run(choice: Choice, only: Sequence[str], out: Path | None, *, docs: bool = False) -> int:
    """Measure, print the tables as Markdown, write tables and plots, and with `docs` also the pages
    of the appendix; return 1 if an order was not answered 201.
    """
    folder = out or REPORTS
    folder.mkdir(parents=True, exist_ok=True)
    parts = only or (QUICK_PARTS if choice.quick else list(PARTS))
    require(choice.broker, parts)
    ratios, written, fine = [], list[str](), True
    for name in parts:
        if choice.broker not in ("all", "redis") and name in REDIS_PARTS:
            say(f"--- {name}: runs on Redis only, skipped")
            continue
        say(f"--- {name}")
        found = Found("", None)
        for found in PARTS[name](choice, folder):  # one per broker, each with the results so far
            _write(folder, name, found)
        say(f"\n{found.table}\n")
        ratios.append(found.ratios)
        written += [f"{name}.md", f"{name}.json", *found.drawn]
        if docs and found.fine:
            files = [folder / each for each in (f"{name}.json", *found.drawn)]
            run_of = f"Measured on {date.today().isoformat()}: {report.machine()}."
            pages.publish(name, {"run": run_of, **(found.tables or {name: found.table})}, files)
        fine = fine and found.fine
    say(f"written to {folder}: {', '.join(written)}\n")
    say(report.machine())
    say("\n\n".join(filter(None, ratios)))
    return 0 if fine else 1


def require(broker: str, parts: Sequence[str]) -> None:
    """Raise LaunchError before the measurement if a requested broker is unavailable.

    The message says how to get the broker and how to measure without it.
    """
    brokers = list(BROKERS) if broker == "all" else [broker]
    if all(name in REDIS_PARTS for name in parts):
        brokers = [each for each in brokers if each == "redis"]
    missing = {each: problem for each in brokers if (problem := BROKERS[each].unavailable()) is not None}
    if missing:
        rest = [each for each in brokers if each not in missing]
        without = f"; or measure {rest[0]} alone: make bench BENCH='--broker {rest[0]}'" if rest else ""
        raise LaunchError("; ".join(f"{each}: {problem}" for each, problem in missing.items()) + without)


def _write(folder: Path, name: str, found: Found) -> None:
    table = f"{report.machine()}\n\n{found.table}\n\n{found.ratios}\n"
    (folder / f"{name}.md").write_text(table, encoding="utf-8")
    results = {"machine": report.machine(), name: _rounded(found.results)}
    (folder / f"{name}.json").write_text(_lines(results), encoding="utf-8")


def _brokers(choice: Choice) -> list[str]:
    return list(BROKERS) if choice.broker == "all" else [choice.broker]


def _systems(choice: Choice, folder: Path) -> Iterator[Found]:
    plan = QUICK if choice.quick else Plan(choice.users, choice.rounds, choice.alone, choice.seconds)
    results: list[Result] = []
    for broker in _brokers(choice):
        say(f"--- {broker}")
        with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as name:
            results.append(measure(broker, Path(name), plan, say))
        drawn = tuple(plots.draw(folder, results))
        fine = all(set(each.answers) == {201} for result in results for each in result.systems.values())
        tables = {"goals": goals(results), **{each.broker: report.system(each) for each in results}}
        yield Found(report.systems(results), results, goals(results), fine, drawn, tables)


def _concurrency(choice: Choice, folder: Path) -> Iterator[Found]:
    async def measured(sizes: Sequence[int], folder: Path) -> list[ConcurrencyLevel]:
        with ours("redis", folder, say) as system:
            async with Shopper(system) as shopper:
                await shopper.register(CONCURRENCY_USERS)
                return await concurrency(shopper, sizes, say)

    with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as name:
        held = asyncio.run(measured(QUICK_CONCURRENCY if choice.quick else CONCURRENCY_LEVELS, Path(name)))
    fine = not any(level.errors for level in held)
    yield Found(report.concurrency(held), held, report.fresh(held), fine)


def _growth(choice: Choice, folder: Path) -> Iterator[Found]:
    grown = grow(say, growth.QUICK if choice.quick else growth.FULL)
    fine = all(set(each.statuses) == {201} for sizes in grown for each in sizes)
    yield Found(report.growth(grown), grown, fine=fine)


def _latency_breakdown(choice: Choice, folder: Path) -> Iterator[Found]:
    found: dict[str, list[latency_breakdown.Segment]] = {}
    for broker in _brokers(choice):
        with tempfile.TemporaryDirectory(prefix="sidecart-latency-") as name:
            found[broker] = latency_breakdown.measure(
                broker, Path(name), say, latency_breakdown.QUICK_ORDERS if choice.quick else latency_breakdown.ORDERS
            )
        plots.draw_latency_breakdown(folder / "latency-breakdown.svg", found)
        yield Found(latency_breakdown.table(found), found, drawn=("latency-breakdown.svg",))


def _experiments(choice: Choice, folder: Path) -> Iterator[Found]:
    found, variants = {}, experiments.named(choice.variant)
    for broker in _brokers(choice):
        found[broker] = experiments.run_all(broker, say, variants, 1 if choice.quick else experiments.ROUNDS)
        fine = all(set(each.statuses) == {201} for some in found.values() for each in some)
        tables = {name: experiments.table(name, some) for name, some in found.items()}
        yield Found("\n\n".join(tables.values()), found, fine=fine, tables=tables)


def _monitor(choice: Choice, folder: Path) -> Iterator[Found]:
    found = {}
    for broker in _brokers(choice):
        found[broker] = monitored.measure(broker, say, 1 if choice.quick else choice.rounds, choice.seconds)
        fine = all(set(each.statuses) == {201} for each in found.values())
        tables = {name: monitored.table(name, each) for name, each in found.items()}
        ratios = "\n".join(monitored.verdict(name, each) for name, each in found.items())
        yield Found("\n\n".join(tables.values()), found, ratios, fine, tables=tables)


PARTS: Mapping[str, Callable[[Choice, Path], Iterator[Found]]] = {
    "systems": _systems,
    "concurrency": _concurrency,
    "latency-breakdown": _latency_breakdown,
    "growth": _growth,
    "experiments": _experiments,
    "monitor": _monitor,
}
QUICK_PARTS = ("systems", "concurrency")
REDIS_PARTS = ("concurrency", "growth")


def _lines(results: Any) -> str:
    """Return the results as JSON, with each list of numbers on one line."""
    return NUMBERS.sub(lambda found: " ".join(found[0].split()), json.dumps(results, indent=1)) + "\n"


def _rounded(value: Any) -> Any:
    """Round floats to three decimals, and reduce long lists to their sorted percentiles."""
    match value:
        case object(__dataclass_fields__=fields):
            return {name: _rounded(getattr(value, name)) for name in fields}
        case dict():
            return {str(key): _rounded(each) for key, each in value.items()}
        case [*items] if len(items) > 101 and all(isinstance(each, float) for each in items):
            ranked = sorted(items)
            return {
                "count": len(ranked),
                "hundredths": [round(ranked[(len(ranked) - 1) * n // 100], 3) for n in range(101)],
            }
        case list() | tuple():
            return [_rounded(each) for each in value]
        case float():
            return round(value, 3)
    return value
