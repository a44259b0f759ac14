"""One run on a cluster: the load and the auditor of the fault suite, with other faults."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from gateway.commands import COMMANDS
from shop.audit import SECOND_MAILS, ShopBookkeeping
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import GATEWAY, service_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.acting import Acting
from sidecart.testkit.contents import Backlog
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.auditor import Auditor
from sidecart.testkit.faults.bookkeeping import SideEffect
from sidecart.testkit.faults.effects import effects
from sidecart.testkit.faults.injector import InjectedFault, Injector
from sidecart.testkit.faults.ledger import Ledger
from sidecart.testkit.faults.load import Load, Plan
from sidecart.testkit.faults.recorder import Recorder
from sidecart.testkit.faults.report import Report
from sidecart.testkit.faults.schedule import Fault, Kind
from tests.faults.requests import ShopRequests
from tests.kubernetes.consumers import wait_correct
from tests.kubernetes.harms import Harms
from tests.kubernetes.shop import KubernetesShop

PER_SECOND = 4.0
FIRST_SECONDS = 5.0
EVERY_SECONDS = 9.0
"""A killed pod is back after 5 to 10 s, and a server takes its volume again."""
NODE = "node-1"
CORDONED_SECONDS = 15.0
READY_SECONDS = 300
KIND = "kubernetes"


class KubernetesBookkeeping(ShopBookkeeping):
    """The shop's bookkeeping; a drained node explains a second mail, too.

    The tests share a shop, so it counts only the mails since it was made.
    """

    repeat_rules = replace(SECOND_MAILS, explained_by=(*SECOND_MAILS.explained_by, NODE))

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._since = time.time()

    def side_effects(self) -> Sequence[SideEffect]:
        """Return the mails that the mail server accepted since the bookkeeping was made."""
        return [each for each in super().side_effects() if each.at >= self._since]


def schedule(seed: int, overlay: str, number: int) -> list[Fault]:
    """Draw faults; each kind and each workload is hit before any is hit twice."""
    rng = random.Random(f"cluster {seed}")
    chosen = OVERLAYS[overlay]
    servers = list(dict.fromkeys((BROKERS[chosen.broker].names[0], STORES[chosen.store].names[0])))
    apps = [GATEWAY, *service_ids()]
    possible: list[tuple[Kind, Sequence[str]]] = [
        ("pod-kill", apps),
        ("container-kill", apps),
        ("container-kill", [sidecar_of(each) for each in apps]),
        ("out-of-memory", apps),
        ("eviction", apps),
        ("pod-kill", servers),
        ("container-kill", servers),
        ("drain", [NODE]),
    ]
    faults: list[Fault] = []
    drawn: list[tuple[Kind, Sequence[str]]] = []
    targets: dict[int, list[str]] = {}
    while len(faults) < number:
        if not drawn:
            drawn = rng.sample(possible, len(possible))
        kind, names = drawn.pop()
        left = targets.setdefault(possible.index((kind, names)), [])
        if not left:
            left += rng.sample(list(names), len(names))
        at = FIRST_SECONDS + EVERY_SECONDS * (len(faults) + 0.5 * rng.random())
        faults.append(Fault(at, kind, (left.pop(),), CORDONED_SECONDS if kind == "drain" else 0.0))
    return faults


@dataclass(frozen=True, slots=True)
class Trial:
    """A load that runs, and what its audit needs."""

    system: System
    load: Load
    ledger: Ledger
    bookkeeping: KubernetesBookkeeping
    recorder: Recorder
    backlog: Callable[[], list[Backlog]]

    def audit(self, faults: Sequence[InjectedFault]) -> Audit:
        """Settle what callers gave up, wait until the shop is at rest, and count."""
        self.load.settle()
        auditor = Auditor(self.system, self.ledger, faults, self.bookkeeping, self.recorder, lambda: None, self.backlog)
        return auditor.audit()


@contextmanager
def loaded(shop: KubernetesShop, plan: Plan, folder: Path, keep_going: Callable[[], bool]) -> Iterator[Trial]:
    """Send the load during the block; the block waits for its end."""
    system = as_system(shop)
    bookkeeping = KubernetesBookkeeping(system)
    recorder = Recorder(system, bookkeeping.recorded_topics)
    recorder.start()
    with closing(Ledger(folder / "ledger.jsonl")) as ledger:
        acting = Acting(shop.issuer_folder, COMMANDS)
        load = Load(shop.url, plan, ShopRequests(), ledger, acting, keep_going)
        load.start()
        yield Trial(system, load, ledger, bookkeeping, recorder, shop.backlog)


def run(shop: KubernetesShop, seed: int, number: int, folder: Path, report: Callable[[str], None]) -> Report:
    """Send the load while at least this number of faults happens, then audit."""
    started = time.monotonic()
    faults = schedule(seed, shop.overlay, number)
    injector = Injector(as_system(shop), faults, Harms(shop).by_kind())
    plan = Plan(seed, int((faults[-1].at + EVERY_SECONDS) * PER_SECOND), PER_SECOND)
    with loaded(shop, plan, folder, lambda: injector.running) as trial:
        injector.start()
        try:
            trial.load.join(lambda: None)
            while injector.running:
                time.sleep(0.1)
        finally:
            injector.stop()
        for missed in injector.missed:
            report(f"  missed: {missed}")
        injector.check()
        assert len(injector.done) >= number, f"{len(injector.done)} of {number} faults happened"
        shop.wait_all_ready()
        if shop.kind == "rabbitmq":
            # the audit reads by the sidecars, so no keeper may evict their pods
            wait_correct(shop)
        report(f"  {trial.load.sent} sent, {len(injector.done)} faults; waiting until the shop is at rest")
        audit = trial.audit(injector.done)
        rules = trial.bookkeeping
        return Report(
            broker=OVERLAYS[shop.overlay].broker,
            store=OVERLAYS[shop.overlay].store,
            seed=seed,
            seconds=time.monotonic() - started,
            faults=len(injector.done),
            effects=effects(trial.ledger, injector.done, audit, rules.main_route, rules.repeat_rules),
            broken_calls=trial.ledger.broken,
            restarts=shop.restarts(),
            audit=audit,
            kind=KIND,
        )


def as_system(shop: KubernetesShop) -> System:
    """Return the shop as the parts of the fault suite take it: they use only what both have."""
    return cast(System, shop)
