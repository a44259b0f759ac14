"""The shop's mutants: `sidecart faults --mutants` runs each with three seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from gateway.commands import COMMANDS
from shop.audit import ShopBookkeeping
from sidecart.launcher.project import root
from sidecart.testkit.faults.load import Plan
from sidecart.testkit.faults.mutants import Mutant
from sidecart.testkit.faults.schedule import SHORT, storm
from sidecart.testkit.faults.trial import Trial
from tests.faults.requests import ShopRequests
from tests.faults.trials import REPLICAS, SETTINGS, trial_of

SEEDS = (1, 2, 3)
COMPONENTS = root() / "components"
STORM_SECONDS = 24.0
REQUESTS, PER_SECOND = 1_560, 60.0
# enough money for nearly every order, so that each event moves money
RICH = partial(ShopRequests, users=10, order_share=0.7, deposit_share=0.3)
BROKER, STORE = "redis", "postgres"
TURNS = ("billing",), ("billing-1",)
"""The processes that die by turns: the replicas of the service that moves the money."""


def stormy(
    seed: int,
    killed: tuple[tuple[str, ...], ...] = TURNS,
    times: int = 12,
    frozen: str | None = STORE,
    *,
    stuck: bool = False,
) -> Trial:
    """Return a trial in which the same few processes die again and again.

    `frozen` is paused for a second before each kill. With `stuck`, the kill happens while it is
    still paused.
    """
    faults = tuple(storm(seed, killed, frozen, times, STORM_SECONDS, stuck=stuck))
    plan = Plan(seed, REQUESTS, PER_SECOND)
    return Trial(
        BROKER,
        STORE,
        seed,
        SHORT,
        plan,
        RICH,
        COMMANDS,
        ShopBookkeeping,
        faults=faults,
        replicas=REPLICAS,
        env=SETTINGS,
    )


def swallowing(seed: int) -> Trial:
    """Return the short trial in which sidecars drop publishes."""
    return trial_of(BROKER, STORE, seed, short=True, kind="swallow")


MUTANTS: Mapping[str, Mutant] = {
    "ETag": Mutant(stormy, "balances are wrong", ("billing",), "no-etag"),
    "outbox": Mutant(stormy, "balances are wrong", ("billing",), "no-outbox"),
    "outbox before next save": Mutant(stormy, "balances are wrong", ("billing",), "outbox-not-finished-first"),
    "resiliency policy": Mutant(
        partial(stormy, killed=(("billing",), ("order",), ("billing-1",)), frozen=None),
        "accepted requests are not final",
        folders=(COMPONENTS / "brokers" / BROKER, COMPONENTS / "stores" / STORE),
    ),
    "republished commands": Mutant(
        # three times: each process has to be back before the next kill
        partial(stormy, killed=(("gateway-sidecar", "valkey"),), times=3, frozen="valkey", stuck=True),
        "accepted requests are not final",
        ("gateway",),
        "published-once",
    ),
    "reconciler": Mutant(swallowing, "accepted requests are not final", ("gateway",), "no-reconciler"),
}
"""The mutants, by the name of the removed safeguard.

A service that no mutant patches has the same event processor as the patched one.
"""
