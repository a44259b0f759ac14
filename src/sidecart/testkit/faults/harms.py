"""The faults other than killing and freezing processes, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sidecart.testkit.faults import refusals
from sidecart.testkit.faults.injector import Harm, Undo, family, send
from sidecart.testkit.faults.proxied import ProxiedSystem
from sidecart.testkit.faults.rollback import roll_back
from sidecart.testkit.faults.schedule import CUT_SHARE, LOSSY_SHARE, SILENT_SHARE, SLOW_SECONDS, Kind
from sidecart.testkit.faults.unparseable import Planter


def harms(system: ProxiedSystem, planter: Planter) -> Mapping[Kind, Harm]:
    """Return the function that injects each kind of fault into this system."""
    links = system.network.links

    def roll_valkey_back(target: str) -> None:
        roll_back(system.data, partial(send, family(system, target)))

    return {
        "lossy": lambda target: links[target].lose(LOSSY_SHARE),
        "silent": lambda target: links[target].silence(SILENT_SHARE),
        "cut": lambda target: _done(links[target].cut, CUT_SHARE),
        "slow": lambda target: links[target].slow(SLOW_SECONDS),
        "rollback": roll_valkey_back,
        "alarm": partial(refusals.alarm, system),
        "read-only": partial(refusals.read_only, system),
        "full-disk": lambda target: refusals.fill(system.data),
        "unparseable": planter.plant,
    }


def _done(harm: Callable[[float], int], share: float) -> Undo | None:
    """Inject a fault that needs no undo."""
    harm(share)
    return None
