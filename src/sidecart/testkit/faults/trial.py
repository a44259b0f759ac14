"""One run as it is planned: the servers, the load, and the faults of its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sidecart.edge.declarations import CommandDeclaration
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import read_topics
from sidecart.launcher.topology import app_for_grpc, app_for_sidecar
from sidecart.testkit.faults.bookkeeping import Bookkeeping
from sidecart.testkit.faults.load import Plan, Requests
from sidecart.testkit.faults.proxied import ProxiedSystem
from sidecart.testkit.faults.refusals import no_small_disk
from sidecart.testkit.faults.rest import OPEN_QUIET_SECONDS
from sidecart.testkit.faults.schedule import Fault, Kind, Shape, lossy, network, refusals, rollbacks, unparseable

SWALLOWED_SHARE = 0.01
HALF_OPEN_SECONDS = 660.0
"""Nothing ends a half-open connection but a time limit: ten minutes for a mail (RFC 5321)."""

KINDS: Mapping[str, str] = {
    "kills": "SIGKILL and SIGSTOP to every process",
    "lossy": "connections to the broker lose 0.4 s of what is sent, then are reset, every 1 to 3 s",
    "swallow": "1 % of all publishes are confirmed and dropped",
    "network": "connections of callers, apps, sidecars and servers are cut, left half-open, slowed",
    "rollback": "Redis loses its last second of events, PostgreSQL keeps the state",
    "refusals": "a broker without memory, a read-only store, a full disk",
    "unparseable": "unparseable messages on every topic",
}
"""The description of each kind, by name."""
ALL = "all"
"""All kinds that the broker and the store support, one after the other."""

Planned = Callable[[ProxiedSystem], Sequence[Fault]]


@dataclass(frozen=True, slots=True)
class Trial:
    """The configuration of one run."""

    broker: str
    store: str
    seed: int
    shape: Shape
    plan: Plan
    requests: Callable[[], Requests]
    """Makes the source of the requests."""
    commands: Sequence[CommandDeclaration]
    """The commands of the project, which say who may send them."""
    bookkeeping: Callable[[System], Bookkeeping]
    """Makes the project's part of the audit."""
    faults: tuple[Fault, ...] | Planned | None = None
    """The faults; None draws kills and freezes of every process from the seed."""
    kind: str = "kills"
    linked: Callable[[str], bool] = lambda name: False
    """Whether a process is reached through a link of the faulty network, by name."""
    swallowed_share: float = 0.0
    """The share of all publishes that are confirmed and dropped."""
    small_disk: bool = False
    """Whether the servers' data is on its own small file system, which can be filled."""
    resources: tuple[Path, ...] | None = None
    replaced: Mapping[str, Path] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    gateways: int = 1
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings of the apps."""
    open_quiet_seconds: float = OPEN_QUIET_SECONDS
    """How long nothing must change before a missing result counts as lost."""


ROLLED_BACK = ("redis", "postgres")
"""The only pair in which the store keeps data that the broker loses."""


def kinds_of(name: str, broker: str, store: str) -> list[str]:
    """Return the kinds that a name stands for."""
    if name != ALL:
        return [name]
    return [each for each in KINDS if each != "rollback" or (broker, store) == ROLLED_BACK]


def with_faults(trial: Trial) -> Trial:
    """Return the trial with the faults of its kind; raise LaunchError for an impossible kind."""
    broker, store = BROKERS[trial.broker].names[0], STORES[trial.store].names[0]
    seed, seconds = trial.seed, trial.plan.seconds
    match trial.kind:
        case "kills":
            return trial
        case "lossy":
            return replace(trial, faults=tuple(lossy(seed, [broker], seconds)), linked=broker.__eq__)
        case "swallow":
            return replace(trial, faults=(), swallowed_share=SWALLOWED_SHARE)
        case "network":
            faults = partial(_on_every_link, seed, seconds)
            return replace(trial, faults=faults, linked=lambda name: True, open_quiet_seconds=HALF_OPEN_SECONDS)
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


def _on_every_link(seed: int, seconds: float, system: ProxiedSystem) -> Sequence[Fault]:
    """Draw faults of all links, without those to an API of a sidecar that its app does not use."""
    links = system.network.links
    return network(seed, sorted(name for name in links if links[name].is_used or not _is_api(name)), seconds)


def _is_api(name: str) -> bool:
    return app_for_sidecar(name) is not None or app_for_grpc(name) is not None
