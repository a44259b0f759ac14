"""The command lines of `sidecart bench` and `sidecart soak`.

The measurements are imported when a command runs, because the plots need a second to load.
"""

import argparse
from pathlib import Path

from sidecart.cli.arguments import add_servers
from sidecart.launcher.servers.registry import BROKERS


def add_bench(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart bench`."""
    parser.add_argument("--broker", choices=[*BROKERS, "all"], default="all", help="run on this broker only")
    parser.add_argument(
        "--quick", action="store_true", help="run two short rounds, which take minutes (make bench QUICK=1)"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=["systems", "concurrency", "latency-breakdown", "growth", "experiments", "monitor"],
        help="run this part; repeatable (default all; --quick: systems, concurrency). Redis only: concurrency, growth",
    )
    parser.add_argument(
        "--users", type=int, default=1_000, help="systems: the number of users who order (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="systems: rounds that alternate both systems (default %(default)s)"
    )
    parser.add_argument(
        "--alone", type=int, default=200, help="systems: sequential orders per round (default %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="systems: seconds of each load in a round (default %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write tables, results and plots to this folder (default .sidecart/bench)",
    )
    parser.set_defaults(command=bench)


def add_soak(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart soak`."""
    add_servers(parser)
    parser.add_argument("--minutes", type=float, default=20.0, help="the duration in minutes (default %(default)s)")
    parser.add_argument("--per-second", type=float, default=10.0, help="orders per second (default %(default)s)")
    parser.set_defaults(command=soak)


def bench(options: argparse.Namespace) -> int:
    """Measure both systems and the other parts."""
    from bench import run

    return run.run(options)


def soak(options: argparse.Namespace) -> int:
    """Place orders at a constant rate."""
    from bench import soak

    return soak.run(options)
