"""Experiments for speed: the shop with one change, in turns with the unchanged shop."""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.components import copied
from bench.load import closed_loop, percentile
from bench.measure import HELD, WARM_SECONDS, Turn, level_of, orders_alone, ratio
from bench.patched import HTTP_ONLY, SOCKETS, program
from bench.shopper import Shopper
from bench.systems import of_shop
from bench.unpaced import UNPACED
from sidecart.chassis.settings import GRPC, HTTP, SIDECAR_API
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.topics import app_ids

Say = Callable[[str], None]

ROUNDS = 6
ALONE = 30
SECONDS = 3.0
USERS = 200
OVER_HTTP = {SIDECAR_API: HTTP}


@dataclass(frozen=True, slots=True)
class Variant:
    """One change to the shop."""

    name: str
    patch: str | None = None
    """The name of a patch in bench.patched, applied to every app."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Values that replace those of the components' metadata."""
    publishers: int = 0
    """The components of RabbitMQ that publish in the changed shop; the unchanged one then has one.
    """
    settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the changed shop."""
    unchanged_settings: Mapping[str, str] = field(default_factory=dict)
    """Settings of the unchanged shop, if the defaults would leave open what is compared."""
    sidecar_env: Mapping[str, str] = field(default_factory=dict)
    sidecar_flags: tuple[str, ...] = ()
    """Extra flags; {folder} stands for the shop's folder of sockets."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Replicas of apps, in both shops."""


VARIANTS = (
    Variant("no change (difference between two equal shops)"),
    Variant(
        "the sidecar is called over gRPC instead of HTTP (ADR 73)",
        settings={SIDECAR_API: GRPC},
        unchanged_settings=OVER_HTTP,
    ),
    Variant("two components publish instead of one (pubsub-2)", publishers=2),
    Variant("four components publish instead of one (pubsub-2 to pubsub-4)", publishers=4),
    Variant("every record is loaded (without ADR 24)", "every-record-is-loaded"),
    Variant("no entry is deferred, two Order Services (without ADR 27)", "nothing-is-deferred", replicas={"order": 2}),
    Variant("the sidecar is called by aiohttp (without ADR 23)", "called-by-aiohttp"),
    Variant("accepted requests are not journaled and checked (without ADR 32)", "nothing-is-healed"),
    Variant("the events of a step are published one by one", "published-one-by-one"),
    Variant("queued events are published in bulk", "published-in-bulk"),
    Variant("events are parsed by the sidecar (without ADR 33)", "parsed-by-the-sidecar"),
    Variant("queueDepth 10, concurrency 8", metadata={"queueDepth": "10", "concurrency": "8"}),
    Variant("queueDepth 200, concurrency 128", metadata={"queueDepth": "200", "concurrency": "128"}),
    Variant("each sidecar on all cores (GOMAXPROCS)", sidecar_env={"GOMAXPROCS": str(os.cpu_count())}),
    Variant("sidecars collect garbage as often as by default (GOGC=100, without ADR 76)", sidecar_env={"GOGC": "100"}),
    Variant(
        "the sidecar is called over a Unix socket",
        "called-over-a-unix-socket",
        sidecar_flags=("--unix-domain-socket", "{folder}"),
    ),
    Variant("prefetchCount 8", metadata={"prefetchCount": "8"}),
    Variant("prefetchCount 128", metadata={"prefetchCount": "128"}),
)


@dataclass(slots=True)
class Experiment:
    """The turns of the unchanged and of the changed shop, over the rounds."""

    name: str
    as_it_is: list[Turn] = field(default_factory=list)
    changed: list[Turn] = field(default_factory=list)

    @property
    def statuses(self) -> Counter[int]:
        """The statuses of all responses."""
        return sum((turn.statuses for turn in (*self.as_it_is, *self.changed)), Counter())

    def ratio(self, value: Callable[[Turn], float]) -> float:
        """The changed shop as a multiple of the unchanged one: the median over the rounds."""
        return ratio(self.changed, self.as_it_is, value)


class ChangedSidecars(Wiring):
    """Gives the sidecars other environment variables and extra flags."""

    def __init__(self, variant: Variant, sockets: Path) -> None:
        self._env = variant.sidecar_env
        self._flags = tuple(flag.format(folder=sockets) for flag in variant.sidecar_flags)

    def sidecar_flags(self, app_id: str) -> Sequence[str]:
        """Return the variant's flags."""
        return self._flags

    def sidecar_env(self, app_id: str) -> Mapping[str, str]:
        """Return the variant's environment."""
        return self._env


def named(words: str) -> list[Variant]:
    """Return the variants with these words in their names; raise LaunchError if there is none."""
    found = [each for each in VARIANTS if words.casefold() in each.name.casefold()]
    if not found:
        raise LaunchError(
            f"no variant has the words {words!r} in its name: " + "; ".join(each.name for each in VARIANTS)
        )
    return found


def run_all(broker: str, say: Say, variants: Sequence[Variant] = VARIANTS, rounds: int = ROUNDS) -> list[Experiment]:
    """Run each variant next to an unchanged shop; skip those that do not apply to the broker."""
    found = []
    for variant in variants:
        with tempfile.TemporaryDirectory(prefix="sidecart-experiments-") as name, ExitStack() as stack:
            folder = Path(name)
            options = _changed(variant, broker, folder)
            if options is None:
                say(f"{variant.name}: does not apply to {broker}")
                continue
            plain = stack.enter_context(System(_unchanged(variant, broker, folder), say))
            other = stack.enter_context(System(options, say, wiring=ChangedSidecars(variant, folder / "s")))
            found.append(asyncio.run(by_turns(variant.name, plain, other, rounds)))
        say(line(found[-1]))
    return found


def _unchanged(variant: Variant, broker: str, folder: Path) -> Options:
    return Options(
        broker,
        folder=folder / "plain",
        resources=copied(folder / "plain-components", broker, {}, publishers=1) if variant.publishers else None,
        env={**UNPACED, **_needed(variant), **variant.unchanged_settings},
        replicas=dict(variant.replicas),
    )


def _changed(variant: Variant, broker: str, folder: Path) -> Options | None:
    """Return the options of the changed shop, or None if the broker has nothing to change."""
    replaced, resources, sockets = {}, None, folder / "s"
    if variant.patch is not None:
        replaced = {app_id: program(folder / app_id, app_id, variant.patch) for app_id in app_ids()}
    if variant.metadata or variant.publishers:
        resources = copied(folder / "components", broker, variant.metadata, variant.publishers)
        if not resources:
            return None
    sockets.mkdir()
    return Options(
        broker,
        folder=folder / "changed",
        replaced=replaced,
        resources=resources,
        env={SOCKETS: str(sockets), **UNPACED, **_needed(variant), **variant.settings},
        replicas=dict(variant.replicas),
    )


def _needed(variant: Variant) -> Mapping[str, str]:
    """Return the settings that both shops need for the variant's patch, whatever the default is."""
    return OVER_HTTP if variant.patch in HTTP_ONLY else {}


async def by_turns(name: str, plain: System, other: System, rounds: int) -> Experiment:
    """Load both shops alternately; each round reverses the order of the one before."""
    experiment = Experiment(name)
    async with AsyncExitStack() as stack:
        shoppers = [await stack.enter_async_context(Shopper(of_shop(shop))) for shop in (plain, other)]
        for shopper in shoppers:
            await shopper.register(USERS)
            await closed_loop(shopper.order, HELD, WARM_SECONDS)
            await shopper.settle()
        for number in range(rounds):
            turns = Turn(), Turn()
            pairs = list(zip(shoppers, turns, strict=True))
            for shopper, turn in pairs if number % 2 else pairs[::-1]:
                await orders_alone(shopper, turn, ALONE)
                turn.levels[HELD] = await level_of(shopper, HELD, SECONDS)
            experiment.as_it_is.append(turns[0])
            experiment.changed.append(turns[1])
    return experiment


def line(experiment: Experiment) -> str:
    """Return the experiment's row of the table."""

    def cell(value: Callable[[Turn], float], digits: int) -> str:
        plain = statistics.median(map(value, experiment.as_it_is))
        other = statistics.median(map(value, experiment.changed))
        return f"{plain:.{digits}f} -> {other:.{digits}f} ({experiment.ratio(value):.2f} x)"

    cells = (
        cell(lambda turn: percentile(turn.alone.milliseconds, 50), 2),
        cell(lambda turn: turn.levels[HELD].held.per_second, 0),
        cell(lambda turn: turn.levels[HELD].completed_per_second, 0),
        cell(lambda turn: turn.levels[HELD].shop_cpu_ms, 2),
    )
    return f"| {experiment.name} | {' | '.join(cells)} |"


def table(broker: str, found: Sequence[Experiment]) -> str:
    """Return a Markdown table with cells of the form unchanged -> changed."""
    heads = (f"{broker}: unchanged -> changed", "one held order alone, p50, ms", f"held orders/s, {HELD} held")
    head = " | ".join([*heads, "completed orders/s", "CPU, ms per completed order"])
    return "\n".join([f"| {head} |", "|---|---:|---:|---:|---:|", *map(line, found)])
