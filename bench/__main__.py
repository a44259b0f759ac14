"""The shop beside its floor: `python -m bench [--broker redis|rabbitmq|all]`, or `make bench`."""

import argparse
import sys
import tempfile
from pathlib import Path

from bench.measure import Plan, measure
from bench.report import report
from cli.run import say
from cli.servers import BROKERS


def main() -> int:
    """Measure, and print the tables as Markdown."""
    plan = Plan()
    parser = argparse.ArgumentParser(prog="python -m bench", description="The shop beside its floor, in one run.")
    parser.add_argument("--broker", choices=[*BROKERS, "all"], default="all")
    parser.add_argument("--users", type=int, default=plan.users, help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=plan.rounds, help="of floor and shop by turns (%(default)s)")
    parser.add_argument("--alone", type=int, default=plan.alone, help="requests one by one, a round (%(default)s)")
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="at 64 held, a round (%(default)s)")
    options = parser.parse_args()
    plan = Plan(options.users, options.rounds, options.alone, options.seconds)
    results = []
    for broker in BROKERS if options.broker == "all" else [options.broker]:
        say(f"--- {broker}")
        with tempfile.TemporaryDirectory(prefix="sidecart-bench-") as folder:
            results.append(measure(broker, Path(folder), plan, say))
    say("\n" + report(results))
    return 0 if all(set(result.statuses) == {201} for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
