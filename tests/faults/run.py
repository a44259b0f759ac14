"""The command `sidecart faults`: runs trials of the shop, and prints their reports."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Choice:
    """The trials to run: each kind that `kind` stands for, with each seed."""

    broker: str
    store: str
    kind: str
    seeds: Sequence[int]
    short: bool
    keep: Path | None
    """A folder for the ledger and the logs; None keeps neither."""
    gateways: int = 1


def show(folder: Path = REPORTS) -> int:
    """Run `sidecart faults --show`: print the tables of all written runs."""
    reports = [Report.read(path) for path in sorted(folder.glob("*.json"))]
    if not reports:
        raise LaunchError(f"no report in {folder} yet: run make faults")
    say(f"{table(reports)}\n\n{fault_table(reports)}")
    return 0


def run_mutants(only: str | None, seeds: Sequence[int]) -> int:
    """Run `sidecart faults --mutants`.

    Returns 0 if the auditor finds the expected defect of each mutant with each seed, and nothing in
    the complete shop with the first seed.
    """
    from tests.faults.mutants import MUTANTS, SEEDS

    deadline = stopped_by_signals()
    chosen = {name: mutant for name, mutant in MUTANTS.items() if only in (None, name)}
    lines, missed = judge(
        chosen, seeds or SEEDS, lambda trial, folder: run_trial(trial, folder, say, deadline).audit, say
    )
    say("\n" + "\n".join(lines))
    say(f"\n{missed} unexpected results")
    return 1 if missed else 0


def run(choice: Choice) -> int:
    """Run the trials and print their reports; return 0 if the auditor found nothing."""
    deadline = stopped_by_signals()
    reports = [
        _run_one(choice, kind, seed, deadline)
        for kind in kinds_of(choice.kind, choice.broker, choice.store)
        for seed in choice.seeds
    ]
    say(f"\n{table(reports)}\n\n{fault_table(reports)}")
    return 1 if any(report.audit.findings for report in reports) else 0


def _run_one(choice: Choice, kind: str, seed: int, deadline: Deadline) -> Report:
    say(f"{kind} on {choice.broker} and {choice.store}, seed {seed}")
    trial = trial_of(choice.broker, choice.store, seed, choice.short, kind, choice.gateways)
    with tempfile.TemporaryDirectory(prefix="sidecart-faults-") as name:
        folder = Path(name)
        if choice.keep:
            folder = choice.keep / f"{kind}-{choice.broker}-{choice.store}-{seed}"
            if folder.exists():  # its data would be the new run's, whose seed gives the same ids and keys
                raise LaunchError(f"{folder} has an earlier run: remove it, or give --keep another folder")
        folder.mkdir(parents=True, exist_ok=True)
        report = run_trial(trial, folder, say, deadline)
    path = report.write(REPORTS)
    for finding in report.audit.findings:
        say(f"  FOUND {finding}")
    if report.swallowed:
        say(f"  swallowed: {', '.join(f'{each} {topic}' for topic, each in sorted(report.swallowed.items()))}")
    say(f"  written to {path.relative_to(root())}")
    return report
