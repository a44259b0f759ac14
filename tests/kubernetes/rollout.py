"""A change of the shop under load: every request is accepted at its first attempt."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from shop.audit import PAID_TWICE
from sidecart.testkit.acting import Acting
from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.injector import InjectedFault
from sidecart.testkit.faults.ledger import Ledger
from sidecart.testkit.faults.load import Plan
from tests.kubernetes import trial
from tests.kubernetes.results import kept
from tests.kubernetes.shop import KubernetesShop

CLIENTS = 4
CALLER_PER_SECOND = 10.0
"""CLIENTS callers make fewer mails in some minutes than the mail catcher keeps, 10,000."""
SECONDS_MIN = 5.0
READ_EVERY_SECONDS = 0.05
READ_SECONDS_MAX = 10.0
OK, CREATED = 200, 201


class Reads:
    """A caller that reads created resources, one after the other; a context manager."""

    def __init__(self, shop: KubernetesShop, ledger: Ledger) -> None:
        self._url, self._ledger = shop.url, ledger
        self._acting = Acting(shop.issuer_folder, ())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reads", daemon=True)
        self._error: BaseException | None = None
        self.number = 0
        self.failed: Counter[str] = Counter()
        """Reads with another status than 200, by route and status."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._read()
        except BaseException as failure:  # raised again by the caller's thread
            self._error = failure

    def _read(self) -> None:
        with httpx.Client(base_url=self._url, timeout=READ_SECONDS_MAX, trust_env=False, auth=self._acting) as http:
            while not self._stop.wait(READ_EVERY_SECONDS):
                known = [each for each in list(self._ledger.intents.values()) if each.status == CREATED]
                for intent in {each.route: each for each in known}.values():  # the newest one of each route
                    self.number += 1
                    if what := self._problem(http, str(intent.location)):
                        self.failed[f"read after {intent.route}: {what}"] += 1

    def _problem(self, http: httpx.Client, path: str) -> str:
        try:
            status = http.get(path).status_code
        except httpx.HTTPError as error:
            return type(error).__name__
        return "" if status == OK else str(status)


@dataclass(frozen=True, slots=True)
class Rollout:
    """The result of one change."""

    name: str
    overlay: str
    seconds: float
    """How long the change took; the load ran all the time."""
    failed: dict[str, int]
    """Calls that got no answer, or an error, by what they got."""
    reads: int
    audit: Audit


def run(
    shop: KubernetesShop,
    name: str,
    folder: Path,
    change: Callable[[], None],
    replaced: Sequence[str] = (),
    clients: int = CLIENTS,
) -> Rollout:
    """Send requests of some callers during the change, then audit.

    `replaced` has an app for each time that the change replaces its pods. Meanwhile two pods may
    get the events of one mail at the same moment.
    """
    is_changing, began = True, time.time()
    # each run needs new keys: a shop answers a known key as it did before
    plan = Plan(time.time_ns() % 2**32, 0, clients * CALLER_PER_SECOND, clients=clients, seconds=SECONDS_MIN)
    with trial.loaded(shop, plan, folder, lambda: is_changing) as running:
        started = time.monotonic()
        with Reads(shop, running.ledger) as reads:
            try:
                change()
            finally:
                is_changing = False
                seconds = time.monotonic() - started
                running.load.join(lambda: None)
        failed = running.ledger.broken | reads.failed
        shop.wait_all_ready()
        # pods end, and their events come again, until the shop has settled
        faults = [InjectedFault("rollout", each, began, time.time()) for each in replaced]
        return Rollout(name, shop.overlay, seconds, failed, reads.number, running.audit(faults))


def table(rollouts: Sequence[Rollout]) -> str:
    """Return one Markdown row for each change."""
    lines = [
        "| change | overlay | seconds | requests | reads | failed calls | 201 / 202 | lost | paid twice "
        "| second mails |",
        f"|{'---|' * 10}",
    ]
    for one in rollouts:
        audit = one.audit
        cells = (
            *(one.name, one.overlay, f"{one.seconds:.0f}", audit.valid, one.reads, sum(one.failed.values())),
            *(f"{audit.created} / {audit.pending}", audit.lost, audit.counts[PAID_TWICE], audit.repeats),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def read(pattern: str, folder: Path) -> list[Rollout]:
    """Return the kept results of the files that match."""
    return [Rollout(**{**each, "audit": Audit(**each["audit"])}) for each in kept(pattern, folder)]
