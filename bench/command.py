"""The command lines of `sidecart bench`, `sidecart soak` and `sidecart memory`.

The measurements are imported when a command runs, because the plots need a second to load.
"""

from pathlib import Path

import click

from sidecart.cli.arguments import PATH, broker_option, store_option
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.streams import RETENTION_SECONDS_MAX, RETENTION_SECONDS_MIN

PARTS = ("systems", "concurrency", "latency-breakdown", "growth", "experiments", "monitor")


@click.command("bench")
@click.option("--broker", type=click.Choice([*BROKERS, "all"]), default="all", help="run on this broker only")
@click.option("--quick", is_flag=True, help="run two short rounds, which take minutes (make bench QUICK=1)")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(PARTS),
    show_default="all; with --quick: systems, concurrency",
    help="run this part; repeatable. Redis only: concurrency, growth",
)
@click.option(
    "--variant",
    default="",
    metavar="WORDS",
    show_default="all",
    help="experiments: run only the variants with these words in their names, such as gRPC",
)
@click.option("--users", type=int, default=1_000, metavar="N", help="systems: the number of users who order")
@click.option("--rounds", type=int, default=5, metavar="N", help="systems: rounds that alternate both systems")
@click.option("--alone", type=int, default=200, metavar="N", help="systems: sequential orders per round")
@click.option("--seconds", type=float, default=5.0, metavar="SECONDS", help="systems: seconds of each load in a round")
@click.option(
    "--out",
    type=PATH,
    metavar="FOLDER",
    show_default=".sidecart/bench",
    help="write tables, results and plots to this folder",
)
@click.option("--docs", is_flag=True, help="also replace the tables and plots of these parts in docs/appendix")
def bench(
    broker: str,
    quick: bool,
    only: tuple[str, ...],
    variant: str,
    users: int,
    rounds: int,
    alone: int,
    seconds: float,
    out: Path | None,
    docs: bool,
) -> int:
    """Compare the shop with the same shop without sidecars, alternating in one run.

    The exit code is 1 if a response was not 201.
    """
    if docs and (quick or variant):
        raise click.UsageError("--docs needs a full run, without --quick and --variant")
    from bench import run

    return run.run(run.Choice(broker, quick, users, rounds, alone, seconds, variant), only, out, docs=docs)


@click.command("soak")
@broker_option
@store_option
@click.option("--minutes", type=float, default=20.0, metavar="MINUTES", help="the duration in minutes")
@click.option("--per-second", type=float, default=10.0, metavar="RATE", help="orders per second")
@click.option(
    "--retention",
    type=click.IntRange(RETENTION_SECONDS_MIN, RETENTION_SECONDS_MAX),
    default=60,
    metavar="SECONDS",
    show_default=True,
    help="how long acknowledged events are kept (STREAM_RETENTION_SECONDS)",
)
def soak(broker: str, store: str, minutes: float, per_second: float, retention: int) -> int:
    """Place orders at a constant rate and measure the growth of memory, disk, streams and records.

    The exit code is 1 if a response was not 201, or if anything grew that must be flat.
    """
    from bench.soak import run
    from bench.soak_samples import Soak

    return run(Soak(broker, store, per_second, minutes, retention))


@click.command("memory")
@broker_option
@click.option("--orders", type=click.IntRange(1), default=10_000, metavar="N", help="the number of orders")
def memory(broker: str, orders: int) -> int:
    """Place orders and print the resident memory of each process.

    The exit code is 1 if a Python process exceeds its limit, or if a response was not 201.
    """
    from bench import memory

    return memory.run(broker, orders)
