"""`sidecart bench`: the shop beside its floor, on one broker after the other."""

import argparse
import tempfile
from pathlib import Path

from bench.measure import Plan, measure
from bench.report import report
from cli.run import say
from cli.servers.known import BROKERS


def run(options: argparse.Namespace) -> int:
    """Measure, and print the tables as Markdown; 1 if an order was not answered 201."""
    plan = Plan(options.users, options.rounds, options.alone, options.seconds)
    results = []
    for broker in BROKERS if options.broker == "all" else [options.broker]:
        say(f"--- {broker}")
        with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as folder:
            results.append(measure(broker, Path(folder), plan, say))
    say("\n" + report(results))
    return 0 if all(set(result.statuses) == {201} for result in results) else 1
