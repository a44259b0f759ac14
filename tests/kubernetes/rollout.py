"""A change of the shop under load: every request is accepted at its first attempt."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from sidecart.testkit.faults.audit import Audit
from sidecart.testkit.faults.load import Plan
from tests.kubernetes import trial
from tests.kubernetes.shop import KubernetesShop

CLIENTS = 4
SECONDS_MIN = 5.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """The result of one change."""

    name: str
    overlay: str
    seconds: float
    """How long the change took; the load ran all the time."""
    failed: dict[str, int]
    """Calls that got no answer, or an error, by what they got."""
    audit: Audit


def run(shop: KubernetesShop, name: str, folder: Path, change: Callable[[], None], clients: int = CLIENTS) -> Rollout:
    """Send requests of some callers during the change, then audit."""
    is_changing = True
    # a seed of its own: with another one's the keys would be known already
    plan = Plan(crc32(name.encode()), 0, 0.0, clients=clients, seconds=SECONDS_MIN)
    with trial.loaded(shop, plan, folder, lambda: is_changing) as running:
        started = time.monotonic()
        try:
            change()
        finally:
            is_changing = False
            seconds = time.monotonic() - started
            running.load.join(lambda: None)
        failed = dict(running.ledger.broken)
        shop.wait_all_ready()
        return Rollout(name, shop.overlay, seconds, failed, running.audit([]))


def table(rollouts: Sequence[Rollout]) -> str:
    """Return one Markdown row for each change."""
    lines = [
        "| change | overlay | seconds | requests | failed calls | 201 / 202 | lost | paid twice |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rollouts:
        audit = one.audit
        cells = (
            *(one.name, one.overlay, f"{one.seconds:.0f}", audit.valid, sum(one.failed.values())),
            *(f"{audit.created} / {audit.pending}", audit.lost, audit.counts["paid twice"]),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def read(pattern: str, folder: Path) -> list[Rollout]:
    """Return the kept results of the files that match."""
    found: list[Rollout] = []
    for path in sorted(folder.glob(pattern)):
        content = json.loads(path.read_text(encoding="utf-8"))
        every = content if isinstance(content, list) else [content]
        found += [Rollout(**{**each, "audit": Audit(**each["audit"])}) for each in every]
    return found
