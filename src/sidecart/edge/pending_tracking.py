"""Which resources have pending commands, and when each is due, in memory."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from sidecart.edge.pending_records import Rejection

BACKOFF_SECONDS = 2.0  # before the first repetition; it doubles each time
BACKOFF_SECONDS_MAX = 3600.0  # a service that was down for a day finds about 30 copies, not 40,000
ADOPT_SECONDS = 10  # a pending command unchanged for this long may have lost its replica
RETRY_SECONDS = 1.0  # after the store was unreachable
OPEN_MAX = 20_000  # resources that this replica tracks, adopted ones included; about 1 KB each


@dataclass(slots=True)
class Tracked:
    """A resource with pending commands: the known commands, and the outcomes not yet written."""

    attempt: int = 0
    due: float = 0.0
    expedited_at: float = -ADOPT_SECONDS  # last time that a request published it or made it due at once
    busy: int = 0  # number of tasks that work on it now
    commands: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)  # pending commands that the store has
    outcomes: dict[str, Rejection | None] = field(default_factory=dict)


class Tracking:
    """The resources with pending commands of one replica, and the queue of those that are due."""

    def __init__(self) -> None:
        self.open: dict[str, Tracked] = {}
        self.resource_of: dict[str, str] = {}
        """Maps the id of each tracked command to its resource."""
        self.changed = asyncio.Event()
        """Set whenever a resource has a new due time."""
        self._queue: list[tuple[float, int, str]] = []
        self._sequence = count()  # breaks ties in the queue: first in, first out

    @property
    def is_full(self) -> bool:
        """True when no further resource may be tracked."""
        return len(self.open) >= OPEN_MAX

    @property
    def next_due(self) -> float | None:
        """The time of the event loop at which the next resource is due; None without one."""
        return self._queue[0][0] if self._queue else None

    def track(self, resource: str, command_id: str | None = None) -> Tracked:
        """Return the entry of a resource, and add the command to it."""
        tracked = self.open.setdefault(resource, Tracked())
        if command_id is not None and command_id not in tracked.outcomes:
            tracked.commands.add(command_id)
            self.resource_of[command_id] = resource
        return tracked

    def forget(self, resource: str) -> None:
        """Remove a resource with its commands."""
        for command_id in self.open.pop(resource).commands:
            self.resource_of.pop(command_id, None)

    def plan(self, resource: str, tracked: Tracked, seconds: float) -> None:
        """Make a resource due after `seconds`."""
        tracked.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._queue, (tracked.due, next(self._sequence), resource))
        self.changed.set()

    def replan(self, resource: str, tracked: Tracked) -> None:
        """Make a resource due after the back-off of its attempts."""
        pause = min(BACKOFF_SECONDS * 2.0**tracked.attempt, BACKOFF_SECONDS_MAX)
        self.plan(resource, tracked, RETRY_SECONDS if tracked.outcomes else pause)

    def expedite(self, resource: str, tracked: Tracked) -> None:
        """Make a resource due now, at most once in ADOPT_SECONDS."""
        now = asyncio.get_running_loop().time()
        if now - tracked.expedited_at >= ADOPT_SECONDS:
            tracked.expedited_at = now
            self.plan(resource, tracked, 0)

    def take_due(self, start: Callable[[str, Tracked], bool]) -> None:
        """Call `start` for each idle resource that is due, until it returns False."""
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now:
            due, _, resource = heapq.heappop(self._queue)
            tracked = self.open.get(resource)
            if tracked is not None and tracked.due == due and not tracked.busy and not start(resource, tracked):
                return
