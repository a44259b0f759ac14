"""What can be done to a shop beside killing and freezing its processes, by kind of fault."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.injector import Harm, Undo
from tests.faults.proxied import ProxiedShop
from tests.faults.schedule import LOSSY_SHARE, Kind


def harms(shop: ProxiedShop) -> Mapping[Kind, Harm]:
    """All of them, for this shop."""
    links = shop.network.links

    def lossy(target: str) -> Undo:
        return links[target].lose(LOSSY_SHARE)

    return {"lossy": lossy}
