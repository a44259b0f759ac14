"""A bounded cache of the users that exist.

It holds only positive answers, which stay valid because users are never removed.
"""

from __future__ import annotations

from collections import OrderedDict

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.sidecar import HttpSidecar

KNOWN_MAX = 100_000  # about 15 MB; the cache evicts the least recently used entry
ASK_SECONDS_MAX = 0.5


class KnownUsers:
    """Answers whether a user exists, from the cache or from the User Service."""

    def __init__(self, sidecar: HttpSidecar) -> None:
        self._sidecar = sidecar
        self._known: OrderedDict[str, None] = OrderedDict()

    def add(self, user_id: str) -> None:
        """Add a user to the cache."""
        self._known[user_id] = None
        self._known.move_to_end(user_id)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def may_exist(self, user_id: str, seconds_max: float = ASK_SECONDS_MAX) -> bool:
        """Return False only if the User Service answers 404.

        If the service does not answer in time, return True, so the order is not delayed.
        """
        if user_id not in self._known:
            try:
                answer = await self._sidecar.invoke("user", f"/user/{user_id}", seconds_max)
            except SidecarUnavailable:
                return True
            if answer.status == 404:
                return False
            if answer.status != 200:
                return True
        self.add(user_id)
        return True
