"""The command `sidecart faults`: runs trials of the shop, and prints their reports."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from sidecart.cli.run import say, stopped_by_signals
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.testkit.faults.mutants import judge
from sidecart.testkit.faults.report import Report, fault_table, table
from sidecart.testkit.faults.run import run_trial
from sidecart.testkit.faults.trial import kinds_of
from tests.faults.trials import trial_of

REPORTS = root() / ".sidecart" / "faults"


def show(folder: Path = REPORTS) -> int:
    """Run `sidecart faults --show`: print the tables of all written runs."""
    reports = [Report.read(path) for path in sorted(folder.glob("*.json"))]
    if not reports:
        raise LaunchError(f"no report in {folder} yet: run make faults")
    say(f"{table(reports)}\n\n{fault_table(reports)}")
    return 0


def run_mutants(options: argparse.Namespace) -> int:
    """Run `sidecart faults --mutants`.

    Returns 0 if the auditor finds the expected defect of each mutant with each seed, and nothing in
    the complete shop with the first seed.
    """
    from tests.faults.mutants import MUTANTS, SEEDS

    deadline = stopped_by_signals()
    chosen = {name: mutant for name, mutant in MUTANTS.items() if options.mutant in (None, name)}
    lines, missed = judge(
        chosen, options.seeds or SEEDS, lambda trial, folder: run_trial(trial, folder, say, deadline).audit, say
    )
    say("\n" + "\n".join(lines))
    say(f"\n{missed} unexpected results")
    return 1 if missed else 0


def run(options: argparse.Namespace) -> int:
    """Run `sidecart faults`; return 0 if the auditor found nothing."""
    if options.show:
        return show()
    if options.mutants:
        return run_mutants(options)
    deadline = stopped_by_signals()
    reports = [
        _run_one(options, kind, seed, deadline)
        for kind in kinds_of(options.kind, options.broker, options.store)
        for seed in options.seeds or [1]
    ]
    say(f"\n{table(reports)}\n\n{fault_table(reports)}")
    return 1 if any(report.audit.findings for report in reports) else 0


def _run_one(options: argparse.Namespace, kind: str, seed: int, deadline: Deadline) -> Report:
    say(f"{kind} on {options.broker} and {options.store}, seed {seed}")
    trial = trial_of(options.broker, options.store, seed, options.short, kind)
    with tempfile.TemporaryDirectory(prefix="sidecart-faults-") as name:
        folder = Path(name)
        if options.keep:
            folder = options.keep / f"{kind}-{options.broker}-{options.store}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        report = run_trial(trial, folder, say, deadline)
    path = report.write(REPORTS)
    for finding in report.audit.findings:
        say(f"  FOUND {finding}")
    if report.swallowed:
        say(f"  swallowed: {', '.join(f'{each} {topic}' for topic, each in sorted(report.swallowed.items()))}")
    say(f"  written to {path.relative_to(root())}")
    return report
