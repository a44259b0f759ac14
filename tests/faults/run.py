"""One run: a shop, a load, faults, an audit, a report."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import LaunchError
from cli.fleet import sidecar_of
from cli.patience import Patience
from cli.project import ROOT
from cli.run import say, stopped_by_signals
from cli.shop import MAIL_CATCHER, Options, Shop
from cli.supervisor import Supervisor
from tests.faults.auditor import ENDS, OUTCOMES, Audit, Auditor, Effect, effects
from tests.faults.injector import Injector
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Plan
from tests.faults.schedule import FULL, SHORT, Fault, Shape, schedule

FULL_REQUESTS, SHORT_REQUESTS = 2_100, 440
PER_SECOND = 8.5
BILLING_REPLICAS = 2  # so that ETags are what keeps an account right, and not turns within one process
REPORTS = ROOT / ".sidecart" / "faults"
PROGRESS_SECONDS = 15.0
READY_SECONDS = 180
MAIL_UNKNOWN_SECONDS = (
    "5"  # not an hour: the auditor waits for minutes, and a second mail that a fault explains is fine
)


@dataclass(frozen=True, slots=True)
class Trial:
    """What is run."""

    broker: str
    store: str
    seed: int
    shape: Shape
    plan: Plan
    faults: tuple[Fault, ...] | None = None
    """What happens; drawn from the seed, and to everybody, if nothing is said."""
    resources: tuple[Path, ...] | None = None
    replaced: Mapping[str, Path] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=lambda: {"billing": BILLING_REPLICAS})


@dataclass(slots=True)
class Report:
    """What came of it."""

    broker: str
    store: str
    seed: int
    seconds: float
    faults: int
    effects: dict[str, Effect]
    broken_calls: dict[str, int]
    restarts: int
    audit: Audit
    machine: str = field(default_factory=lambda: f"{platform.machine()}, Python {platform.python_version()}")

    def write(self, folder: Path) -> Path:
        """As JSON, under a name of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        form = "" if self.audit.valid >= FULL_REQUESTS else "-short"
        path = folder / f"{self.broker}-{self.store}-{self.seed}{form}.json"
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Report:
        """As it was written."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        fields["audit"] = Audit(**fields["audit"])
        fields["effects"] = {name: Effect(**each) for name, each in fields["effects"].items()}
        return cls(**fields)


def everybody(shop: Shop) -> tuple[str, ...]:
    """Every process that may be hit: apps, sidecars, servers, the mail server."""
    apps = [name for replica in shop.replicas for name in (replica, sidecar_of(replica))]
    return (*apps, *(server.names[0] for server in shop.servers.values()), MAIL_CATCHER)


def run_trial(trial: Trial, folder: Path, report: Callable[[str], None], patience: Patience | None = None) -> Report:
    """Run it, and keep its shop's logs in the folder."""
    options = Options(
        trial.broker,
        trial.store,
        folder=folder / "shop",
        resources=trial.resources,
        replaced=trial.replaced,
        replicas=trial.replicas,
        env={"MAIL_UNKNOWN_SECONDS": MAIL_UNKNOWN_SECONDS},
    )
    started = time.monotonic()
    with Shop(options, report, patience) as shop:
        shop.broker.record(shop.broker_address, [*OUTCOMES, *ENDS])
        supervisor = Supervisor(shop, lambda text: None)
        ledger = Ledger(folder / "ledger.jsonl")
        faults = trial.faults or schedule(trial.seed, everybody(shop), trial.shape)
        load, injector = Load(shop.url, trial.plan, ledger), Injector(shop, faults)
        said = time.monotonic()

        def look() -> None:
            nonlocal said
            supervisor.look()
            shop.patience.pause(0.0)
            if time.monotonic() - said > PROGRESS_SECONDS:
                said = time.monotonic()
                accepted = sum(each.accepted for each in list(ledger.wanted.values()))
                report(f"  {load.sent} of {trial.plan.requests} sent, {accepted} accepted, {len(injector.done)} faults")

        load.start()
        injector.start()
        try:
            load.join(look)
            while injector.running:
                look()
                time.sleep(0.1)
        finally:
            injector.stop()
        injector.check()

        def ready() -> bool:
            look()
            return all(shop.is_ready(name) for name in shop.replicas)

        shop.patience.until(ready, READY_SECONDS, lambda: f"not ready {READY_SECONDS} s after the last fault", 0.2)
        report("  at rest? then the audit")
        audit = Auditor(shop, ledger, injector.done, look).audit()
        ledger.close()
        return Report(
            broker=trial.broker,
            store=trial.store,
            seed=trial.seed,
            seconds=time.monotonic() - started,
            faults=len(injector.done),
            effects=effects(ledger, injector.done, audit),
            broken_calls=ledger.broken,
            restarts=supervisor.restarts,
            audit=audit,
        )


def table(reports: Sequence[Report]) -> str:
    """One line for each run, in Markdown."""
    head = (
        "broker, store, seed",
        "faults",
        "requests",
        "accepted",
        "201 / 202",
        "orders: paid / not",
        "lost",
        "paid twice",
        "second mails",
        "dead letters",
        "recovery p50 / max (s)",
        "rest (s)",
    )
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for each in reports:
        audit = each.audit
        times = sorted(seconds for one in each.effects.values() for seconds in one.recovery_seconds) or [0.0]
        cells: tuple[Any, ...] = (
            f"{each.broker}, {each.store}, {each.seed}",
            each.faults,
            audit.valid,
            f"{100 * audit.accepted / max(1, audit.valid):.1f} %",
            f"{audit.created} / {audit.promised}",
            f"{audit.paid} / {audit.not_paid}",
            audit.lost,
            audit.paid_twice,
            audit.duplicate_mails,
            audit.dead_letters,
            f"{statistics.median(times):.1f} / {times[-1]:.1f}",
            f"{audit.rest_seconds:.0f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def fault_table(reports: Sequence[Report]) -> str:
    """One line for each kind of fault on each broker and store, all seeds together, in Markdown."""
    lines = [
        "| fault | broker, store | times | orders held then | recovery p50 / max (s) | second mails | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    merged: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for report in reports:
        for name, effect in report.effects.items():
            merged[name, f"{report.broker}, {report.store}"].append(effect)
    for (name, where), found in sorted(merged.items()):
        times = sorted(seconds for effect in found for seconds in effect.recovery_seconds) or [0.0]
        cells = (
            name,
            where,
            sum(effect.times for effect in found),
            sum(effect.orders for effect in found),
            f"{statistics.median(times):.1f} / {times[-1]:.1f}",
            sum(effect.second_mails for effect in found),
            sum(effect.lost for effect in found),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def show(folder: Path = REPORTS) -> int:
    """`sidecart faults --show`: the tables of all runs that were written."""
    reports = [Report.read(path) for path in sorted(folder.glob("*.json"))]
    if not reports:
        raise LaunchError(f"no run has been written to {folder} yet: make faults")
    say(f"{table(reports)}\n\n{fault_table(reports)}")
    return 0


def trial_of(broker: str, store: str, seed: int, short: bool) -> Trial:
    """The full form, or the one of 90 seconds."""
    requests = SHORT_REQUESTS if short else FULL_REQUESTS
    return Trial(broker, store, seed, SHORT if short else FULL, Plan(seed, requests, PER_SECOND))


def run_teeth(options: argparse.Namespace) -> int:
    """`sidecart faults --teeth`: 0 if the auditor found, with each seed, what each missing safeguard leads to.

    And nothing where none is missing, with the first of the seeds.
    """
    from tests.faults.teeth import SEEDS, TEETH, trial

    patience = stopped_by_signals()
    lines, missed = ["| taken out | seed | found |", "|---|---|---|"], 0
    for name, tooth in TEETH.items():
        if options.tooth not in (None, name):
            continue
        seeds = options.seeds or SEEDS
        for seed in seeds:
            for taken_out in (True, False) if seed == seeds[0] else (True,):  # what it is compared with: once
                say(f"{'without' if taken_out else 'with'} {name}, seed {seed}")
                with tempfile.TemporaryDirectory(prefix="sidecart-teeth-") as folder:
                    path = Path(folder)
                    audit = run_trial(trial(tooth, seed, path, taken_out=taken_out), path, say, patience).audit
                for finding in audit.findings:
                    say(f"  FOUND {finding}")
                seen = any(tooth.expected in finding for finding in audit.findings)
                missed += not seen if taken_out else bool(audit.findings)
                found = "; ".join(finding.partition(":")[0] for finding in audit.findings) or "nothing"
                lines.append(f"| {name if taken_out else f'nothing (the trial of: {name})'} | {seed} | {found} |")
    say("\n" + "\n".join(lines))
    say(f"\n{missed} wrong")
    return 1 if missed else 0


def run(options: argparse.Namespace) -> int:
    """`sidecart faults`: 0 if the auditor found nothing."""
    if options.show:
        return show()
    if options.teeth:
        return run_teeth(options)
    patience = stopped_by_signals()
    reports = []
    for seed in options.seeds or [1]:
        say(f"faults on {options.broker} and {options.store}, seed {seed}")
        with tempfile.TemporaryDirectory(prefix="sidecart-faults-") as name:
            folder = options.keep / f"{options.broker}-{options.store}-{seed}" if options.keep else Path(name)
            folder.mkdir(parents=True, exist_ok=True)
            trial = trial_of(options.broker, options.store, seed, options.short)
            report = run_trial(trial, folder, say, patience)
        path = report.write(REPORTS)
        for finding in report.audit.findings:
            say(f"  FOUND {finding}")
        say(f"  written to {path.relative_to(ROOT)}")
        reports.append(report)
    say(f"\n{table(reports)}\n\n{fault_table(reports)}")
    return 1 if any(report.audit.findings for report in reports) else 0
