"""`sidecart bench`: both systems side by side, on one broker after the other."""

import argparse
import asyncio
import dataclasses
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import plots
from bench.crowd import CROWDS, Crowd, crowds
from bench.measure import HELD, Plan, Result, measure
from bench.report import machine, report
from bench.shopper import Shopper
from bench.systems import ours
from cli.project import ROOT
from cli.run import say
from cli.servers.known import BROKERS

REPORTS = ROOT / ".sidecart" / "bench"
QUICK = Plan(rounds=2, alone=40, seconds=4.0, levels=(HELD,), shares=(), floors=False)
QUICK_CROWD = (10_000,)
CROWD_USERS = 200


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables as Markdown, write them and the plots; 1 if an order was not answered 201."""
    plan = QUICK if options.quick else Plan(options.users, options.rounds, options.alone, options.seconds)
    brokers = list(BROKERS) if options.broker == "all" else [options.broker]
    results = []
    for broker in brokers:
        say(f"--- {broker}")
        with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as folder:
            results.append(measure(broker, Path(folder), plan, say))
    held = _crowds(QUICK_CROWD if options.quick else CROWDS) if "redis" in brokers else []
    text = report(results, held)
    say(f"\n{text}")
    _write(options.out or REPORTS, results, held, text)
    fine = all(set(each.statuses) == {201} for result in results for each in result.systems.values())
    return 0 if fine and not any(crowd.errors for crowd in held) else 1


def _crowds(sizes: Sequence[int]) -> list[Crowd]:
    say("--- many held at once")

    async def measured(folder: Path) -> list[Crowd]:
        with ours("redis", folder, say) as system:
            async with Shopper(system) as shopper:
                await shopper.register(CROWD_USERS)
                return await crowds(shopper, sizes, say)

    with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as name:
        return asyncio.run(measured(Path(name)))


def _write(folder: Path, results: Sequence[Result], held: Sequence[Crowd], text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.md").write_text(text + "\n", encoding="utf-8")
    figures: dict[str, Any] = {"machine": machine()}
    figures["brokers"] = [dataclasses.asdict(result) for result in results]
    figures["crowds"] = [dataclasses.asdict(crowd) for crowd in held]
    (folder / "figures.json").write_text(json.dumps(_rounded(figures), indent=1), encoding="utf-8")
    drawn = plots.draw(folder, results)
    say(f"\nwritten to {folder}: tables.md, figures.json, {', '.join(drawn)}")


def _rounded(value: Any) -> Any:
    """With three digits behind the point, and of long lists the sorted hundredths: what a reader can use."""
    match value:
        case Counter() | dict():
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
