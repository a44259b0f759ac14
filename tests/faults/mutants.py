"""Each safeguard taken out, under a load and faults that the whole shop stands: the auditor must find it.

`sidecart faults --mutants` runs all of them with three seeds each, and the whole shop with the first of these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cli.project import ROOT
from tests.faults.kinds import Trial, trial_of
from tests.faults.load import Plan
from tests.faults.patches import program
from tests.faults.schedule import SHORT, storm

SEEDS = (1, 2, 3)
COMPONENTS = ROOT / "components"
STORM_SECONDS = 24.0
REQUESTS, PER_SECOND, USERS = 1_560, 60.0, 10
ORDERS, DEPOSITS = 0.7, 0.3  # money for nearly every order: each event moves some


@dataclass(frozen=True, slots=True)
class Mutant:
    """One safeguard, and where its absence hurts."""

    app_ids: tuple[str, ...] = ()
    """Whose programs are other ones; of none the YAML is."""
    patch: str = ""
    expected: str = "balances are wrong"
    """What the auditor has to find; there may be more."""
    broker: str = "redis"
    store: str = "postgres"
    killed: tuple[tuple[str, ...], ...] = (("billing",), ("billing-1",))
    times: int = 12
    frozen: str | None = "postgres"
    """What is paused for a second before somebody is killed."""
    stuck: bool = False
    """Whether it is still paused when he is."""
    folders: tuple[Path, ...] | None = None
    kind: str | None = None
    """If set, the short form of this kind of faults is the trial, and nothing is killed."""


MUTANTS: Mapping[str, Mutant] = {
    "ETag": Mutant(("billing",), "no-etag"),
    "outbox": Mutant(("billing",), "no-outbox"),
    "finishing first": Mutant(("billing",), "outbox-not-finished-first"),
    "resiliency policy": Mutant(
        expected="accepted requests are not final",
        killed=(("billing",), ("order",), ("billing-1",)),
        frozen=None,
        folders=(COMPONENTS / "brokers" / "redis", COMPONENTS / "stores" / "postgres"),
    ),
    "publishing again at the edge": Mutant(
        ("gateway",),
        "published-once",
        expected="accepted requests are not final",
        killed=(("gateway-sidecar", "valkey"),),
        times=3,  # each has to be back before it is killed again
        frozen="valkey",
        stuck=True,
    ),
    "reconciler": Mutant(("gateway",), "no-reconciler", expected="accepted requests are not final", kind="swallow"),
}


def trial(mutant: Mutant, seed: int, folder: Path, *, taken_out: bool) -> Trial:
    """The trial without the safeguard, or the same one with it."""
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
