"""The command line of `sidecart faults`."""

import argparse
import os
from pathlib import Path

from sidecart.cli.arguments import add_servers, one_of
from sidecart.launcher.errors import LaunchError


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart faults`."""
    add_servers(parser)
    parser.add_argument(
        "--seed",
        dest="seeds",
        type=int,
        action="append",
        help="the seed of the fault schedule (SEED; default 1); repeatable: one run each",
    )
    parser.add_argument(
        "--kind",
        default=os.environ.get("KIND", "kills"),
        help="kills (the default), lossy, swallow, network, rollback, refusals, unparseable, or all in sequence "
        "(KIND; docs/reliability.md)",
    )
    parser.add_argument(
        "--short", action="store_true", help="run one minute of kills instead of four, and 20 s of the other kinds"
    )
    parser.add_argument(
        "--mutants",
        action="store_true",
        help="remove each safeguard in turn, with three seeds, and check that the auditor finds the damage",
    )
    parser.add_argument("--show", action="store_true", help="run nothing; print the tables of the saved runs")
    parser.add_argument("--mutant", type=_mutant, metavar="NAME", help="with --mutants: run this mutant only")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="save the ledger and the logs in this folder")
    parser.set_defaults(command=run)


def _mutant(text: str) -> str:
    from tests.faults.mutants import MUTANTS

    return one_of(MUTANTS, text)


def run(options: argparse.Namespace) -> int:
    """Check the options that the parser cannot check, then run the trials."""
    from tests.faults import run as trials

    if options.seeds is None and "SEED" in os.environ:
        if not os.environ["SEED"].isdecimal():
            raise LaunchError(f"SEED={os.environ['SEED']} is not a whole number")
        options.seeds = [int(os.environ["SEED"])]
    if options.mutant is not None and not options.mutants:
        raise LaunchError("--mutant selects one of --mutants: pass both")
    return trials.run(options)
