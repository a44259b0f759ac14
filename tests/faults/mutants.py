"""Mutants: the shop without one safeguard, under a load and faults that the complete shop survives.

The auditor must find each missing safeguard. `sidecart faults --mutants` runs each mutant with
three seeds, and the complete shop with the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sidecart.launcher.project import root
from tests.faults.kinds import Trial, trial_of
from tests.faults.load import Plan
from tests.faults.patches import program
from tests.faults.schedule import SHORT, storm

SEEDS = (1, 2, 3)
COMPONENTS = root() / "components"
STORM_SECONDS = 24.0
REQUESTS, PER_SECOND, USERS = 1_560, 60.0, 10
ORDERS, DEPOSITS = 0.7, 0.3  # enough money for nearly every order, so that each event moves money


@dataclass(frozen=True, slots=True)
class Mutant:
    """One removed safeguard, and the trial in which its absence shows."""

    app_ids: tuple[str, ...] = ()
    """The apps with a patched program; empty if the mutant changes the YAML only."""
    patch: str = ""
    expected: str = "balances are wrong"
    """The finding that the auditor must report; it may report more."""
    broker: str = "redis"
    store: str = "postgres"
    killed: tuple[tuple[str, ...], ...] = (("billing",), ("billing-1",))
    times: int = 12
    frozen: str | None = "postgres"
    """The process that is paused for a second before each kill."""
    stuck: bool = False
    """Whether the kill happens while the process is still paused."""
    folders: tuple[Path, ...] | None = None
    kind: str | None = None
    """If set, the trial is the short form of this kind of fault, without kills."""


MUTANTS: Mapping[str, Mutant] = {
    "ETag": Mutant(("billing",), "no-etag"),
    "outbox": Mutant(("billing",), "no-outbox"),
    "outbox before next save": Mutant(("billing",), "outbox-not-finished-first"),
    "resiliency policy": Mutant(
        expected="accepted requests are not final",
        killed=(("billing",), ("order",), ("billing-1",)),
        frozen=None,
        folders=(COMPONENTS / "brokers" / "redis", COMPONENTS / "stores" / "postgres"),
    ),
    "republished commands": Mutant(
        ("gateway",),
        "published-once",
        expected="accepted requests are not final",
        killed=(("gateway-sidecar", "valkey"),),
        times=3,  # each process has to be back before the next kill
        frozen="valkey",
        stuck=True,
    ),
    "reconciler": Mutant(("gateway",), "no-reconciler", expected="accepted requests are not final", kind="swallow"),
}


def trial(mutant: Mutant, seed: int, folder: Path, *, taken_out: bool) -> Trial:
    """Return the trial without the safeguard, or the same trial with it."""
    replaced = {}
    if taken_out:
        replaced = {each: program(folder / f"mutant-{each}", each, mutant.patch) for each in mutant.app_ids}
    if mutant.kind is not None:
        return replace(trial_of(mutant.broker, mutant.store, seed, short=True, kind=mutant.kind), replaced=replaced)
    return Trial(
        mutant.broker,
        mutant.store,
        seed,
        SHORT,
        Plan(seed, REQUESTS, PER_SECOND, users=USERS, order_share=ORDERS, deposit_share=DEPOSITS),
        faults=tuple(storm(seed, mutant.killed, mutant.frozen, mutant.times, STORM_SECONDS, stuck=mutant.stuck)),
        resources=mutant.folders if taken_out else None,
        replaced=replaced,
    )
