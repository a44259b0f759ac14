"""The faults other than killing and freezing processes, by kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from tests.faults import refusals
from tests.faults.injector import Harm, Undo, family, send
from tests.faults.proxied import ProxiedShop
from tests.faults.rollback import roll_back
from tests.faults.schedule import CUT_SHARE, LOSSY_SHARE, SILENT_SHARE, SLOW_SECONDS, Kind
from tests.faults.unparseable import Planter


def harms(shop: ProxiedShop, planter: Planter) -> Mapping[Kind, Harm]:
    """Return the function that injects each kind of fault into this shop."""
    links = shop.network.links

    def roll_valkey_back(target: str) -> None:
        roll_back(shop.data, partial(send, family(shop, target)))

    return {
        "lossy": lambda target: links[target].lose(LOSSY_SHARE),
        "silent": lambda target: links[target].silence(SILENT_SHARE),
        "cut": lambda target: _done(links[target].cut, CUT_SHARE),
        "slow": lambda target: links[target].slow(SLOW_SECONDS),
        "rollback": roll_valkey_back,
        "alarm": partial(refusals.alarm, shop),
        "read-only": partial(refusals.read_only, shop),
        "full-disk": lambda target: refusals.fill(shop.data),
        "unparseable": planter.plant,
    }


def _done(harm: Callable[[float], int], share: float) -> Undo | None:
    """Inject a fault that needs no undo."""
    harm(share)
    return None
