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
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cli.errors import LaunchError
from cli.fleet import sidecar_of
from cli.patience import Patience
from cli.project import ROOT
from cli.run import say, stopped_by_signals
from cli.servers.known import BROKERS
from cli.shop import MAIL_CATCHER, Options, Shop
from cli.supervisor import Supervisor
from tests.faults.auditor import ENDS, OUTCOMES, Audit, Auditor, Effect, effects
from tests.faults.harms import harms
from tests.faults.injector import Injector
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Plan
from tests.faults.network import Network
from tests.faults.proxied import ProxiedShop
from tests.faults.schedule import FULL, SHORT, Fault, Shape, lossy, schedule
from tests.faults.swallow import Swallowed

FULL_REQUESTS, SHORT_REQUESTS = 2_100, 440
PER_SECOND = 8.5
CLIENTS, CLIENT_SECONDS, SHORT_CLIENT_SECONDS = 16, 60.0, 20.0
SWALLOWED_SHARE = 0.01
BILLING_REPLICAS = 2  # so that ETags are what keeps an account right, and not turns within one process
REPORTS = ROOT / ".sidecart" / "faults"
PROGRESS_SECONDS = 15.0
READY_SECONDS = 180

Planned = Callable[[ProxiedShop], Sequence[Fault]]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is run."""

    broker: str
    store: str
    seed: int
    shape: Shape
    plan: Plan
    faults: tuple[Fault, ...] | Planned | None = None
    """What happens; drawn from the seed, and to everybody, if nothing is said."""
    kind: str = "kills"
    linked: Callable[[str], bool] = lambda name: False
    """Which processes are reached through a link of the faulty network."""
    swallowed_share: float = 0.0
    """Of all publishes: answered 204 and not carried out."""
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
    kind: str = "kills"
    short: bool = False
    swallowed: dict[str, int] = field(default_factory=dict)
    """Publishes that were answered and not carried out, by topic."""
    machine: str = field(default_factory=lambda: f"{platform.machine()}, Python {platform.python_version()}")

    def write(self, folder: Path) -> Path:
        """As JSON, under a name of its own."""
        folder.mkdir(parents=True, exist_ok=True)
        form = "-short" if self.short else ""
        path = folder / f"{self.kind}-{self.broker}-{self.store}-{self.seed}{form}.json"
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
    )
    with ExitStack() as stack:
        network = stack.enter_context(closing(Network(trial.seed)))
        swallowed = None
        if trial.swallowed_share:
            path = folder / "swallowed.jsonl"
            swallowed = stack.enter_context(closing(Swallowed(trial.seed, trial.swallowed_share, path)))
        shop = ProxiedShop(options, report, patience, network, trial.linked, swallowed)
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.jsonl")))
        return _Run(trial, stack.enter_context(shop), ledger, report, swallowed).whole()


class _Run:
    """One trial of a shop that serves."""

    def __init__(
        self,
        trial: Trial,
        shop: ProxiedShop,
        ledger: Ledger,
        report: Callable[[str], None],
        swallowed: Swallowed | None,
    ) -> None:
        self._started = self._said = time.monotonic()
        self._trial = trial
        self._shop = shop
        self._ledger = ledger
        self._report = report
        self._swallowed = swallowed
        self._supervisor = Supervisor(shop, lambda text: None)
        self._load = Load(shop.entrance, trial.plan, ledger)
        self._injector = Injector(shop, self._faults(), harms(shop))

    def _faults(self) -> Sequence[Fault]:
        planned = self._trial.faults
        if planned is None:
            return schedule(self._trial.seed, everybody(self._shop), self._trial.shape)
        return planned(self._shop) if callable(planned) else planned

    def whole(self) -> Report:
        """The load with the faults, then the audit."""
        shop, ledger, injector = self._shop, self._ledger, self._injector
        shop.broker.record(shop.broker_address, [*OUTCOMES, *ENDS])
        self._hurt()
        shop.patience.until(
            self._ready, READY_SECONDS, lambda: f"not ready {READY_SECONDS} s after the last fault", 0.2
        )
        self._report("  at rest? then the audit")
        audit = Auditor(shop, ledger, injector.done, self._look).audit()
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

    def _hurt(self) -> None:
        """Send everything while the faults happen; returns when both have ended."""
        self._load.start()
        self._injector.start()
        try:
            self._load.join(self._look)
            while self._injector.running:
                self._look()
                time.sleep(0.1)
        finally:
            self._injector.stop()
            if self._swallowed is not None:
                self._swallowed.stop()
        self._injector.check()

    def _look(self) -> None:
        self._supervisor.look()
        self._shop.patience.pause(0.0)
        if time.monotonic() - self._said > PROGRESS_SECONDS:
            self._said = time.monotonic()
            accepted = sum(each.accepted for each in list(self._ledger.wanted.values()))
            self._report(f"  {self._load.sent} sent, {accepted} accepted, {len(self._injector.done)} faults")

    def _ready(self) -> bool:
        self._look()
        return all(self._shop.is_ready(name) for name in self._shop.replicas)


def table(reports: Sequence[Report]) -> str:
    """One line for each run, in Markdown."""
    head = (
        "kind, broker, store, seed",
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
            f"{each.kind}, {each.broker}, {each.store}, {each.seed}",
            each.faults + sum(each.swallowed.values()),
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


def trial_of(broker: str, store: str, seed: int, short: bool, kind: str = "kills") -> Trial:
    """The full form of one kind of faults, or the one of 90 seconds and less."""
    shape = SHORT if short else FULL
    if kind == "kills":
        return Trial(broker, store, seed, shape, Plan(seed, SHORT_REQUESTS if short else FULL_REQUESTS, PER_SECOND))
    seconds = SHORT_CLIENT_SECONDS if short else CLIENT_SECONDS
    trial = Trial(broker, store, seed, shape, Plan(seed, 0, 0.0, clients=CLIENTS, seconds=seconds), kind=kind)
    server = BROKERS[broker].server.names[0]
    if kind == "lossy":
        return replace(trial, faults=tuple(lossy(seed, [server], seconds)), linked=server.__eq__)
    assert kind == "swallow"
    return replace(trial, faults=(), swallowed_share=SWALLOWED_SHARE)


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
        say(f"{options.kind} on {options.broker} and {options.store}, seed {seed}")
        with tempfile.TemporaryDirectory(prefix="sidecart-faults-") as name:
            folder = (
                options.keep / f"{options.kind}-{options.broker}-{options.store}-{seed}" if options.keep else Path(name)
            )
            folder.mkdir(parents=True, exist_ok=True)
            trial = trial_of(options.broker, options.store, seed, options.short, options.kind)
            report = run_trial(trial, folder, say, patience)
        path = report.write(REPORTS)
        for finding in report.audit.findings:
            say(f"  FOUND {finding}")
        if report.swallowed:
            say(f"  swallowed: {', '.join(f'{each} {topic}' for topic, each in sorted(report.swallowed.items()))}")
        say(f"  written to {path.relative_to(ROOT)}")
        reports.append(report)
    say(f"\n{table(reports)}\n\n{fault_table(reports)}")
    return 1 if any(report.audit.findings for report in reports) else 0
