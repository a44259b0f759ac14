"""The systems under measurement, running side by side on their own servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.baseline.shop import BaselineShop
from bench.bodies import price_list
from bench.pair import Pair
from bench.unpaced import UNPACED
from sidecart.launcher.lifecycle.plan import MAIL_CATCHER
from sidecart.launcher.lifecycle.system import Options, System

OURS, BASELINE = "sidecart", "baseline"
COPY = "copy"
"""A second shop, equal to ours: the ratio of the two shows the noise of a ratio."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One running shop, and its floor."""

    name: str
    url: str
    floor_url: str
    mail_log: Path
    issuer_folder: Path
    """The folder of the keys that sign the tokens of the callers."""
    seconds_to_ready: float
    processes: Callable[[], Mapping[str, int]]
    """The pids of the shop's processes by name, without those of the floor."""
    stop: Callable[[str], None]
    """Stop one of the shop's apps."""
    start: Callable[[str], None]
    """Start the app again, and wait until it is ready."""


@contextmanager
def side_by_side(broker: str, folder: Path, say: Callable[[str], None]) -> Iterator[list[Contender]]:
    """Start our shop, the baseline and a copy of our shop, each with its floor; stop them at the
    end of the block.
    """
    env = {**UNPACED, "PRICE_LIST": str(price_list(folder))}
    with ExitStack() as stack:

        def started(name: str) -> Contender:
            shop = stack.enter_context(System(Options(broker, folder=folder / name, env=env), say))
            pair = stack.enter_context(Pair(shop))
            return _ours(name, shop, pair.processes, pair.url)

        baseline = stack.enter_context(BaselineShop(broker, folder / BASELINE, say, env))
        yield [started(OURS), _baseline(baseline, baseline.start_floor()), started(COPY)]


@contextmanager
def ours(broker: str, folder: Path, say: Callable[[str], None]) -> Iterator[Contender]:
    """Start our shop alone, without the floor."""
    with System(Options(broker, folder=folder, env=UNPACED), say) as shop:
        yield of_shop(shop)


def of_shop(shop: System) -> Contender:
    """Return a running shop as a system without a floor."""
    return _ours(OURS, shop, {}, shop.url)


def _ours(name: str, shop: System, floor: Mapping[str, int], floor_url: str) -> Contender:
    def processes() -> Mapping[str, int]:
        return {each: pid for each, pid in shop.processes.items() if each not in floor}

    def start(app_id: str) -> None:
        shop.start_app(app_id)
        shop.wait_ready(app_id)

    log = shop.logs / f"{MAIL_CATCHER}.log"
    seconds, keys = shop.seconds_to_ready, shop.issuer_folder
    return Contender(name, shop.url, floor_url, log, keys, seconds, processes, shop.stop_app, start)


def _baseline(baseline: BaselineShop, floor_url: str) -> Contender:
    def processes() -> Mapping[str, int]:
        return {name: pid for name, pid in baseline.processes.items() if not name.startswith("floor-")}

    def start(name: str) -> None:
        baseline.start_app(name)
        baseline.wait_ready(name)

    log = baseline.logs / f"{MAIL_CATCHER}.log"
    seconds, keys = baseline.seconds_to_ready, baseline.issuer_folder
    return Contender(BASELINE, baseline.url, floor_url, log, keys, seconds, processes, baseline.stop_app, start)
