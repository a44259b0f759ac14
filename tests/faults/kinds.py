"""The kinds of faults, each with its load and shop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import read_topics
from tests.faults.load import Plan
from tests.faults.proxied import ProxiedShop
from tests.faults.refusals import no_small_disk
from tests.faults.schedule import FULL, SHORT, Fault, Kind, Shape, lossy, network, refusals, rollbacks, unparseable

FULL_REQUESTS, SHORT_REQUESTS = 2_100, 440
PER_SECOND = 8.5
CLIENTS, CLIENT_SECONDS, SHORT_CLIENT_SECONDS = 16, 60.0, 20.0
# enough money for most orders, so that a lost event shows in a balance
ORDERS, DEPOSITS = 0.7, 0.25
SWALLOWED_SHARE = 0.01
# several processes, so that ETags protect the account and not the locks of one process
BILLING_REPLICAS = 2

KINDS: Mapping[str, str] = {
    "kills": "SIGKILL and SIGSTOP to every process",
    "lossy": "connections to the broker lose 0.4 s of what is sent, then are reset, every 1 to 3 s",
    "swallow": "1 % of all publishes are answered 204 and dropped",
    "network": "connections of callers, apps, sidecars and servers are cut, left half-open, slowed",
    "rollback": "Redis loses its last second of events, PostgreSQL keeps the state",
    "refusals": "a broker without memory, a read-only store, a full disk",
    "unparseable": "unparseable messages on every topic",
}
"""The description of each kind, by name."""
ALL = "all"
"""All kinds that the broker and the store support, one after the other."""

Planned = Callable[[ProxiedShop], Sequence[Fault]]


@dataclass(frozen=True, slots=True)
class Trial:
    """The configuration of one run."""

    broker: str
    store: str
    seed: int
    shape: Shape
    plan: Plan
    faults: tuple[Fault, ...] | Planned | None = None
    """The faults; None draws kills and freezes of every process from the seed."""
    kind: str = "kills"
    linked: Callable[[str], bool] = lambda name: False
    """Whether a process is reached through a link of the faulty network, by name."""
    swallowed_share: float = 0.0
    """The share of all publishes that are answered 204 and dropped."""
    small_disk: bool = False
    """Whether the servers' data is on its own small file system, which can be filled."""
    resources: tuple[Path, ...] | None = None
    replaced: Mapping[str, Path] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=lambda: {"billing": BILLING_REPLICAS})


ROLLED_BACK = ("redis", "postgres")
"""The only pair in which the store keeps data that the broker loses."""


def kinds_of(name: str, broker: str, store: str) -> list[str]:
    """Return the kinds that a name stands for."""
    if name != ALL:
        return [name]
    return [each for each in KINDS if each != "rollback" or (broker, store) == ROLLED_BACK]


def trial_of(broker: str, store: str, seed: int, short: bool, kind: str = "kills") -> Trial:
    """Return the full trial of one kind of fault, or the short one of up to 90 seconds."""
    shape = SHORT if short else FULL
    if kind == "kills":
        return Trial(broker, store, seed, shape, Plan(seed, SHORT_REQUESTS if short else FULL_REQUESTS, PER_SECOND))
    seconds = SHORT_CLIENT_SECONDS if short else CLIENT_SECONDS
    plan = Plan(seed, 0, 0.0, order_share=ORDERS, deposit_share=DEPOSITS, clients=CLIENTS, seconds=seconds)
    trial = Trial(broker, store, seed, shape, plan, kind=kind)
    return _with_faults(trial, BROKERS[broker].names[0], STORES[store].names[0])


def _with_faults(trial: Trial, broker: str, store: str) -> Trial:
    seed, seconds = trial.seed, trial.plan.seconds
    match trial.kind:
        case "lossy":
            return replace(trial, faults=tuple(lossy(seed, [broker], seconds)), linked=broker.__eq__)
        case "swallow":
            return replace(trial, faults=(), swallowed_share=SWALLOWED_SHARE)
        case "network":
            return replace(trial, faults=partial(_on_every_link, seed, seconds), linked=lambda name: True)
        case "rollback":
            if (trial.broker, trial.store) != ROLLED_BACK:
                raise LaunchError(
                    "rollback takes BROKER=redis STORE=postgres: the store must keep data that the broker loses"
                )
            return replace(trial, faults=tuple(rollbacks(seed, broker, seconds)))
        case "refusals":
            kinds: list[tuple[Kind, tuple[str, ...]]] = [("alarm", (broker,)), ("read-only", (store,))]
            if no_small_disk() is None:
                kinds.append(("full-disk", tuple(dict.fromkeys((broker, store)))))
            return replace(trial, faults=tuple(refusals(seed, kinds, seconds)), small_disk=no_small_disk() is None)
        case "unparseable":
            topics = [name for name, topic in read_topics().items() if topic.consumers]
            return replace(trial, faults=tuple(unparseable(seed, topics, seconds)))
        case _:
            raise LaunchError(f"unknown kind {trial.kind}: choose from {', '.join(KINDS)}")


def _on_every_link(seed: int, seconds: float, shop: ProxiedShop) -> Sequence[Fault]:
    return network(seed, sorted(shop.network.links), seconds)
