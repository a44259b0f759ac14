"""The resources that commands require: whether each exists, or is pending.

A bounded cache holds the resources that exist. They stay valid until they are erased. Another one
holds the erased resources, because an event that says that one exists may arrive late.
"""

from __future__ import annotations

import asyncio
import logging

from sidecart.chassis.errors import SidecarUnavailable, TransientError
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.command import Deadline
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.problems import not_found, unavailable

log = logging.getLogger(__name__)

KNOWN_MAX = 100_000  # about 15 MB; the cache evicts the entry that was added first
ASK_SECONDS_MAX = 0.5


class KnownResources:
    """Answers whether a resource exists, from the cache or from the service that has it."""

    def __init__(self, sidecar: Sidecar, pending_commands: PendingCommands) -> None:
        self._sidecar = sidecar
        self._pending_commands = pending_commands
        self.paths: dict[str, None] = {}
        """The cache: the paths of resources that exist."""
        self._erased: dict[str, None] = {}

    def add(self, path: str) -> None:
        """Add the path of a resource that exists, unless it was erased."""
        if path not in self._erased:
            _put(self.paths, path)

    def remove(self, path: str) -> None:
        """Remove the path of an erased resource, for good."""
        self.paths.pop(path, None)
        _put(self._erased, path)

    async def require(self, app_id: str, path: str, deadline: Deadline) -> None:
        """Return if the resource exists; raise Problem 404 if it does not, 503 while it is pending.

        A caller with a 202 for this resource does not get a 404. Its command is not published
        either, because the one that creates the resource may still be rejected.
        """
        if await self.may_exist(app_id, path, deadline.share(ASK_SECONDS_MAX)):
            return
        what = f"{app_id} {path.rpartition('/')[2]}"
        try:
            async with asyncio.timeout_at(deadline.answer_by):
                record = await self._pending_commands.find(path)
        except (TransientError, TimeoutError) as fault:
            log.warning("cannot look up the pending command of %s: %s", what, fault)
            raise unavailable(f"cannot tell now whether {what} is pending; try again") from fault
        if record is None or not (record.pending or record.is_confirmed):
            raise not_found(what)
        if not record.is_confirmed:
            raise unavailable(f"{what} does not exist yet, its command is pending; try again")

    async def may_exist(self, app_id: str, path: str, seconds_max: float = ASK_SECONDS_MAX) -> bool:
        """Return False only if the service answers 404.

        If the service does not answer in time, return True, so the command is not delayed.
        """
        if path in self.paths:
            return True
        try:
            answer = await self._sidecar.invoke(app_id, path, seconds_max)
        except SidecarUnavailable:
            return True
        if answer.status == 200:
            self.add(path)
        return answer.status != 404


def _put(paths: dict[str, None], path: str) -> None:
    """Add a path as the newest one, and evict the oldest one if there are too many."""
    paths.pop(path, None)
    paths[path] = None
    if len(paths) > KNOWN_MAX:
        del paths[next(iter(paths))]
