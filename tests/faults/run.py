"""One run: a shop, a load, faults, an audit, a report."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from sidecart.cli.run import say, stopped_by_signals
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.topology import sidecar_of
from tests.faults.auditor import ENDS, OUTCOMES, Auditor, effects
from tests.faults.harms import harms
from tests.faults.injector import Injector
from tests.faults.kinds import Trial, kinds_of, trial_of
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.network import Network
from tests.faults.proxied import ProxiedShop
from tests.faults.recordings import record
from tests.faults.refusals import small_disk
from tests.faults.report import Report, fault_table, table
from tests.faults.schedule import SHORT, Fault, schedule
from tests.faults.swallow import Swallowed
from tests.faults.unparseable import Planter

REPORTS = root() / ".sidecart" / "faults"
PROGRESS_SECONDS = 15.0
READY_SECONDS = 180
MAIL_UNKNOWN_SECONDS = (
    # seconds instead of an hour: the auditor waits minutes only, and allows a second mail that a
    # fault explains
    "5"
)


def process_names(shop: System) -> tuple[str, ...]:
    """Return the names of all processes that faults may hit: apps, sidecars, servers, the mail
    server.
    """
    apps = [name for replica in shop.replicas for name in (replica, sidecar_of(replica))]
    return (*apps, *(server.names[0] for server in shop.servers.values()), MAIL_CATCHER)


def run_trial(trial: Trial, folder: Path, report: Callable[[str], None], deadline: Deadline | None = None) -> Report:
    """Run the trial and keep its shop's logs in the folder."""
    options = Options(
        trial.broker,
        trial.store,
        folder=folder / "shop",
        resources=trial.resources,
        replaced=trial.replaced,
        replicas=trial.replicas,
        env={"MAIL_UNKNOWN_SECONDS": MAIL_UNKNOWN_SECONDS},
    )
    with ExitStack() as stack:
        network = stack.enter_context(closing(Network(trial.seed)))
        swallowed = None
        if trial.swallowed_share:
            path = folder / "swallowed.jsonl"
            swallowed = stack.enter_context(closing(Swallowed(trial.seed, trial.swallowed_share, path)))
        shop = ProxiedShop(options, report, deadline, network, trial.linked, swallowed)
        if trial.small_disk:
            stack.enter_context(small_disk(shop.data))
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.jsonl")))
        return _Run(trial, stack.enter_context(shop), ledger, report, swallowed).execute()


class _Run:
    """One trial of a running shop."""

    def __init__(
        self,
        trial: Trial,
        shop: ProxiedShop,
        ledger: Ledger,
        report: Callable[[str], None],
        swallowed: Swallowed | None,
    ) -> None:
        self._started = self._reported = time.monotonic()
        self._trial = trial
        self._shop = shop
        self._ledger = ledger
        self._report = report
        self._swallowed = swallowed
        self._supervisor = Supervisor(shop, lambda text: None)
        self._planter = Planter(shop, trial.seed)
        self._injector = Injector(shop, self._faults(), harms(shop, self._planter))
        self._load = Load(shop.entrance, trial.plan, ledger, lambda: self._injector.running)

    def _faults(self) -> Sequence[Fault]:
        planned = self._trial.faults
        if planned is None:
            return schedule(self._trial.seed, process_names(self._shop), self._trial.shape)
        return planned(self._shop) if callable(planned) else planned

    def execute(self) -> Report:
        """Run the load with the faults, then the audit; return the report."""
        shop, ledger, injector = self._shop, self._ledger, self._injector
        record(shop, [*OUTCOMES, *ENDS])
        self._load_under_faults()
        shop.deadline.until(
            self._ready, READY_SECONDS, lambda: f"not ready {READY_SECONDS} s after the last fault", 0.2
        )
        self._load.settle()
        self._report("  waiting until the shop is idle, then auditing")
        audit = Auditor(shop, ledger, injector.done, self._poll, self._planter.planted).audit()
        return Report(
            broker=self._trial.broker,
            store=self._trial.store,
            seed=self._trial.seed,
            seconds=time.monotonic() - self._started,
            faults=len(injector.done),
            effects=effects(ledger, injector.done, audit),
            broken_calls=ledger.broken,
            restarts=self._supervisor.restarts,
            audit=audit,
            kind=self._trial.kind,
            short=self._trial.shape is SHORT,
            swallowed=self._swallowed.by_topic if self._swallowed is not None else {},
        )

    def _load_under_faults(self) -> None:
        """Send the load while the faults happen; return when both have ended."""
        self._load.start()
        self._injector.start()
        try:
            self._load.join(self._poll)
            while self._injector.running:
                self._poll()
                time.sleep(0.1)
        finally:
            self._injector.stop()
            for missed in self._injector.missed:
                self._report(f"  missed: {missed}")
            if self._swallowed is not None:
                self._swallowed.stop()
        self._injector.check()

    def _poll(self) -> None:
        self._supervisor.look()
        self._shop.deadline.pause(0.0)
        if time.monotonic() - self._reported > PROGRESS_SECONDS:
            self._reported = time.monotonic()
            accepted = sum(each.accepted for each in list(self._ledger.intents.values()))
            self._report(f"  {self._load.sent} sent, {accepted} accepted, {len(self._injector.done)} faults")

    def _ready(self) -> bool:
        self._poll()
        return all(self._shop.is_ready(name) for name in self._shop.replicas)


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
    from tests.faults.mutants import MUTANTS, SEEDS, trial

    deadline = stopped_by_signals()
    lines, missed = ["| removed safeguard | seed | found |", "|---|---|---|"], 0
    for name, mutant in MUTANTS.items():
        if options.mutant not in (None, name):
            continue
        seeds = options.seeds or SEEDS
        for seed in seeds:
            # the complete shop runs once, for comparison
            for taken_out in (True, False) if seed == seeds[0] else (True,):
                say(f"{'without' if taken_out else 'with'} {name}, seed {seed}")
                with tempfile.TemporaryDirectory(prefix="sidecart-mutants-") as folder:
                    path = Path(folder)
                    audit = run_trial(trial(mutant, seed, path, taken_out=taken_out), path, say, deadline).audit
                for finding in audit.findings:
                    say(f"  FOUND {finding}")
                seen = any(mutant.expected in finding for finding in audit.findings)
                missed += not seen if taken_out else bool(audit.findings)
                found = "; ".join(finding.partition(":")[0] for finding in audit.findings) or "nothing"
                lines.append(f"| {name if taken_out else f'nothing (the trial of: {name})'} | {seed} | {found} |")
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
