"""One run: a system, a load, faults, an audit, a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from sidecart.launcher import sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.acting import Acting
from sidecart.testkit.faults.auditor import Auditor
from sidecart.testkit.faults.effects import effects
from sidecart.testkit.faults.harms import harms
from sidecart.testkit.faults.injector import Injector
from sidecart.testkit.faults.ledger import Ledger
from sidecart.testkit.faults.load import Load
from sidecart.testkit.faults.network import Network
from sidecart.testkit.faults.proxied import ProxiedSystem
from sidecart.testkit.faults.recorder import Recorder
from sidecart.testkit.faults.refusals import small_disk
from sidecart.testkit.faults.report import Report
from sidecart.testkit.faults.schedule import SHORT, Fault, schedule
from sidecart.testkit.faults.swallow import Swallowed
from sidecart.testkit.faults.trial import Trial
from sidecart.testkit.faults.unparseable import Planter

PROGRESS_SECONDS = 15.0
READY_SECONDS = 180


def process_names(system: System) -> tuple[str, ...]:
    """Return the names of all processes that faults may hit: apps, sidecars, servers, sentry, the
    mail server.
    """
    apps = [name for replica in system.replicas for name in (replica, sidecar_of(replica))]
    return (*apps, *(server.names[0] for server in system.servers.values()), sentry.NAME, MAIL_CATCHER)


def run_trial(trial: Trial, folder: Path, report: Callable[[str], None], deadline: Deadline | None = None) -> Report:
    """Run the trial and keep its system's logs in the folder."""
    options = Options(
        trial.broker,
        trial.store,
        folder=folder / "system",
        resources=trial.resources,
        replaced=trial.replaced,
        replicas=trial.replicas,
        gateways=trial.gateways,
        env=trial.env,
    )
    with ExitStack() as stack:
        network = stack.enter_context(closing(Network(trial.seed)))
        swallowed = None
        if trial.swallowed_share:
            path = folder / "swallowed.jsonl"
            swallowed = stack.enter_context(closing(Swallowed(trial.seed, trial.swallowed_share, path)))
        system = ProxiedSystem(options, report, deadline, network, trial.linked, swallowed)
        if trial.small_disk:
            stack.enter_context(small_disk(system.data))
        ledger = stack.enter_context(closing(Ledger(folder / "ledger.jsonl")))
        return _Run(trial, stack.enter_context(system), ledger, report, swallowed).execute()


class _Run:
    """One trial of a running system."""

    def __init__(
        self,
        trial: Trial,
        system: ProxiedSystem,
        ledger: Ledger,
        report: Callable[[str], None],
        swallowed: Swallowed | None,
    ) -> None:
        self._started = self._reported = time.monotonic()
        self._trial = trial
        self._system = system
        self._ledger = ledger
        self._report = report
        self._swallowed = swallowed
        self._bookkeeping = trial.bookkeeping(system)
        self._recorder = Recorder(system, self._bookkeeping.recorded_topics)
        self._supervisor = Supervisor(system, lambda text: None)
        self._planter = Planter(system, trial.seed)
        self._injector = Injector(system, self._faults(), harms(system, self._planter))
        acting = Acting(system.issuer_folder, trial.commands)
        self._load = Load(system.entrance, trial.plan, trial.requests(), ledger, acting, lambda: self._injector.running)

    def _faults(self) -> Sequence[Fault]:
        planned = self._trial.faults
        if planned is None:
            return schedule(self._trial.seed, process_names(self._system), self._trial.shape)
        return planned(self._system) if callable(planned) else planned

    def execute(self) -> Report:
        """Run the load with the faults, then the audit; return the report."""
        system, ledger, injector, bookkeeping = self._system, self._ledger, self._injector, self._bookkeeping
        self._recorder.start()
        self._load_under_faults()
        system.deadline.until(
            self._ready, READY_SECONDS, lambda: f"not ready {READY_SECONDS} s after the last fault", 0.2
        )
        self._load.settle()
        self._report("  waiting until the system is at rest, then auditing")
        auditor = Auditor(system, ledger, injector.done, bookkeeping, self._recorder, self._poll)
        audit = auditor.audit(self._planter.planted, self._trial.open_quiet_seconds)
        return Report(
            broker=self._trial.broker,
            store=self._trial.store,
            seed=self._trial.seed,
            seconds=time.monotonic() - self._started,
            faults=len(injector.done),
            effects=effects(ledger, injector.done, audit, bookkeeping.main_route, bookkeeping.repeat_rules),
            broken_calls=ledger.broken,
            restarts=self._supervisor.restarts,
            audit=audit,
            kind=self._trial.kind,
            gateways=self._trial.gateways,
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
        self._system.deadline.pause(0.0)
        if time.monotonic() - self._reported > PROGRESS_SECONDS:
            self._reported = time.monotonic()
            accepted = sum(each.accepted for each in list(self._ledger.intents.values()))
            self._report(f"  {self._load.sent} sent, {accepted} accepted, {len(self._injector.done)} faults")

    def _ready(self) -> bool:
        self._poll()
        return all(self._system.is_ready(name) for name in self._system.replicas)
