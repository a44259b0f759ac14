"""A bounded cache of resources that exist and that commands require.

It holds only positive answers, which stay valid because such resources are never removed.
"""

from __future__ import annotations

from collections import OrderedDict

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.sidecar import HttpSidecar

KNOWN_MAX = 100_000  # about 15 MB; the cache evicts the least recently used entry
ASK_SECONDS_MAX = 0.5


class KnownResources:
    """Answers whether a resource exists, from the cache or from the service that has it."""

    def __init__(self, sidecar: HttpSidecar) -> None:
        self._sidecar = sidecar
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, path: str) -> None:
        """Add the path of a resource that exists."""
        self._known[path] = None
        self._known.move_to_end(path)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def may_exist(self, app_id: str, path: str, seconds_max: float = ASK_SECONDS_MAX) -> bool:
        """Return False only if the service answers 404.

        If the service does not answer in time, return True, so the command is not delayed.
        """
        if path not in self._known:
            try:
                answer = await self._sidecar.invoke(app_id, path, seconds_max)
            except SidecarUnavailable:
                return True
            if answer.status == 404:
                return False
            if answer.status != 200:
                return True
        self.add(path)
        return True
