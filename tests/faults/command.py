"""The command line of `sidecart faults`."""

from collections.abc import Iterable
from pathlib import Path

import click

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.cli.arguments import PATH, broker_option, store_option
from sidecart.cli.names import OneOf
from sidecart.launcher.errors import LaunchError


def _mutants() -> Iterable[str]:
    from tests.faults.mutants import MUTANTS

    return MUTANTS


@click.command("faults")
@broker_option
@store_option
@click.option(
    "--seed",
    "seeds",
    type=int,
    multiple=True,
    envvar="SEED",
    show_envvar=True,
    show_default="1",
    help="the seed of the fault schedule; repeatable: one run each",
)
@click.option(
    "--kind",
    envvar="KIND",
    show_envvar=True,
    default="kills",
    metavar="KIND",
    help="kills, lossy, swallow, network, rollback, refusals, unparseable, or all in sequence "
    "(docs/explanation/failure-model.md)",
)
@click.option(
    "--gateways",
    type=click.IntRange(1, GATEWAYS_MAX),
    default=1,
    metavar="N",
    show_default=True,
    help="the number of gateways behind one address",
)
@click.option("--short", is_flag=True, help="run one minute of kills instead of four, and 20 s of the other kinds")
@click.option(
    "--mutants",
    is_flag=True,
    help="remove each safeguard in turn, with three seeds, and check that the auditor finds the damage",
)
@click.option("--show", is_flag=True, help="run nothing; print the tables of the saved runs")
@click.option("--mutant", type=OneOf("mutant", _mutants), metavar="NAME", help="with --mutants: run this mutant only")
@click.option("--keep", type=PATH, metavar="FOLDER", help="save the ledger and the logs of each run in a new folder")
def command(
    broker: str,
    store: str,
    seeds: tuple[int, ...],
    kind: str,
    gateways: int,
    short: bool,
    mutants: bool,
    show: bool,
    mutant: str | None,
    keep: Path | None,
) -> int:
    """Inject faults under load, then audit the result.

    The exit code is 1 if the audit found damage, or with --mutants, if it missed the damage of a
    mutant.
    """
    # the trials import the whole test kit, which --help does not need
    from tests.faults import run as trials

    if mutant is not None and not mutants:
        raise LaunchError("--mutant selects one of --mutants: pass both")
    if show:
        return trials.show()
    if mutants:
        return trials.run_mutants(mutant, seeds)
    return trials.run(trials.Choice(broker, store, kind, seeds or (1,), short, keep, gateways))
