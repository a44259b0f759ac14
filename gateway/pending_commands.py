"""Keeping what a 202 accepted: each command is published again, with back-off, until its reply is seen.

Written down before the 202 is given, so that a restart goes on with it; a replica that is asked for a resource which
another one accepted goes on with it too. What is in memory is only which pending commands there are and when each is
due.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

from chassis.errors import TransientError
from chassis.sidecar import HttpSidecar
from gateway.command import Command, resource_of
from gateway.pending_index import IndexFull, PendingIndex
from gateway.pending_records import (
    PendingCommand,
    PendingRecord,
    PendingRecords,
    Rejection,
    TooManyCommands,
)

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 2.0  # before the first repetition, then twice as long each time
BACKOFF_SECONDS_MAX = 3600.0  # a service that is down for a day finds some 30 copies of a command, not 40,000
# while the broker or the store is unreachable nothing is published: look every half minute
ATTEMPTS_UNREACHABLE_MAX = 4
AT_ONCE_MAX = 10  # pending commands worked on at the same time
ADOPT_SECONDS = 10  # a pending command that nobody touched for so long may have lost its replica
OTHERS_SECONDS = 60.0  # between two looks at what other replicas have accepted
REPLICAS_MAX = 10  # gateway-0 to gateway-9
RETRY_SECONDS = 1.0  # after the store was unreachable
OPEN_MAX = 20_000  # pending commands that this replica carries, those of other replicas too; about 1 KB each


Publish = Callable[[str, bytes], Awaitable[None]]


class NotRecorded(Exception):
    """The pending command could not be written down; says why."""


@dataclass(slots=True)
class _Tracked:
    """A pending command that is not settled: the commands we know of, the outcomes that are not written yet."""

    attempt: int = 0
    due: float = 0.0
    expedited_at: float = -ADOPT_SECONDS  # when somebody asked for it, and so it was not left to wait for its turn
    busy: int = 0  # who writes or works at this moment
    commands: set[str] = field(default_factory=set)
    outcomes: dict[str, Rejection | None] = field(default_factory=dict)


class PendingCommands:
    """The pending commands that this replica carries."""

    def __init__(
        self, sidecar: HttpSidecar, pod_name: str, now: Callable[[], datetime], publish: Publish | None = None
    ) -> None:
        self._publish = publish or sidecar.publish
        self._health = sidecar.store
        self._now = now
        self._others = other_replicas(pod_name)
        self._records = PendingRecords(sidecar, now)
        self._index = PendingIndex(sidecar, pod_name)
        self._open: dict[str, _Tracked] = {}
        self._resource_of: dict[str, str] = {}  # by command id
        self._queue: list[tuple[float, int, str]] = []
        self._numbers = count()  # equally due: first come, first served
        self._changed = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self.resumed = False  # whether the pending commands of an earlier process are known

    # --- Asked by the routes

    async def add(self, command: Command) -> PendingCommand:
        """Write the pending command down; returns it with its outcome, if it has one already. Raise NotRecorded.

        While it is written, and after it, replies to the command are seen.
        """
        if not self.resumed:
            raise NotRecorded("the pending commands of before the restart are not read yet")
        if len(self._open) >= OPEN_MAX:
            raise NotRecorded(f"{OPEN_MAX} commands are pending")
        tracked = self._track(command.resource, command.id)
        tracked.busy += 1
        try:
            made, _ = await asyncio.gather(self._records.add(command), self._index.add(command.resource))
        except (TransientError, IndexFull, TooManyCommands) as error:
            raise NotRecorded(str(error)) from error
        finally:
            tracked.busy -= 1
            self._replan(command.resource, tracked)  # not written? the worker finds out
        return made

    async def find(self, location: str) -> PendingRecord | None:
        """Return what is pending about a location; a pending command that nobody seems to carry is carried from now
        on.
        """
        resource = resource_of(location)
        record = await self._records.load(resource)
        if record is None or record.location != location:
            return None
        self._adopt(resource, record)
        return record

    @property
    def store_refuses(self) -> bool:
        """Whether it is known that no pending command can be written at this moment, for the store refuses all
        writes.
        """
        return bool(self._health.write_refusal)

    # --- Told by the replies

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._open)

    def is_pending(self, command_id: str) -> bool:
        """Whether this replica carries this command."""
        return command_id in self._resource_of

    def settle(self, command_id: str, rejection: Rejection | None) -> None:
        """A reply came: the outcome will be written down, soon."""
        resource = self._resource_of.pop(command_id, None)
        if resource is not None:
            tracked = self._open[resource]
            tracked.outcomes[command_id] = rejection
            self._plan(resource, tracked, 0)

    # --- The work

    async def carry(self) -> None:
        """Take up what an earlier process accepted, then work on each pending command when it is due, until
        cancelled.
        """
        try:
            await self._resume()
            while True:
                await self._work_on_what_is_due()
        finally:
            for task in self._work:
                task.cancel()
            await asyncio.gather(*self._work, return_exceptions=True)

    async def adopt_from_other_replicas(self) -> None:
        """Carry on, from now and then, what replicas that are gone have accepted, until cancelled.

        Only the first replica does so. One that is not gone has its pending command carried twice, which does no harm.
        """
        settled: set[str] = set()
        while self._others:
            await asyncio.sleep(OTHERS_SECONDS)
            try:
                settled = await self._adopt_from_others(settled)
            except TransientError as fault:
                log.warning("what other gateways accepted is looked after later: %s", fault)

    async def _adopt_from_others(self, settled: set[str]) -> set[str]:
        """Look at what is not known to be settled; return what is."""
        ids = {resource for other in self._others for resource in await self._index.ids_of(other)}
        settled &= ids
        for resource in ids - settled - self._open.keys():
            record = await self._records.load(resource)
            if record is None or not record.pending:
                settled.add(resource)
            else:
                self._adopt(resource, record)
        return settled

    def _adopt(self, resource: str, record: PendingRecord) -> None:
        """Carry a pending command that nobody seems to carry; give one that waits its turn now, every ten seconds at
        most.
        """
        if not record.pending or self._now() - record.changed_at <= timedelta(seconds=ADOPT_SECONDS):
            return
        now = asyncio.get_running_loop().time()
        tracked = self._open.get(resource)
        if tracked is None and len(self._open) < OPEN_MAX:
            tracked = self._track(resource)
        if tracked is not None and now - tracked.expedited_at >= ADOPT_SECONDS:
            tracked.expedited_at = now
            self._plan(resource, tracked, 0)

    async def _resume(self) -> None:
        left: list[str] = []
        while not self.resumed:
            try:
                left = await self._index.read()
                self.resumed = True
            except TransientError:  # the sidecar is not up yet
                await asyncio.sleep(RETRY_SECONDS)
        if left:
            log.info("%d pending commands of before the restart go on", len(left))
        for resource in left:
            self._plan(resource, self._track(resource), 0)

    async def _work_on_what_is_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and len(self._work) < AT_ONCE_MAX:
            due, _, resource = heapq.heappop(self._queue)
            tracked = self._open.get(resource)
            if tracked is not None and tracked.due == due and not tracked.busy:
                tracked.busy = 1
                task = asyncio.create_task(self._work_on(resource, tracked))
                self._work.add(task)
                task.add_done_callback(self._done)
        seconds = None
        if self._queue and len(self._work) < AT_ONCE_MAX:
            seconds = max(self._queue[0][0] - now, 0)
        self._changed.clear()
        with suppress(TimeoutError):  # not wait_for: in Python 3.11 it may swallow a cancellation
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a bug in the work on a pending command: %r", error)

    async def _work_on(self, resource: str, tracked: _Tracked) -> None:
        """Write the outcomes that came, or publish the commands that have none; forget a pending command that is
        settled.
        """
        written = dict(tracked.outcomes)
        if not written:
            tracked.attempt += 1
        try:
            if written:
                record = await self._records.settle(resource, written)
                for command_id in written:
                    del tracked.outcomes[command_id]
            else:
                record = await self._records.load(resource)
            pending = [] if record is None else record.pending
            for command in pending:
                self._track(resource, command.id)
            if not pending and tracked.busy == 1:
                self._forget(resource, tracked)
            elif not written:
                for command in pending:
                    await self._publish(command.topic, bytes(command.event))
        except TransientError as fault:
            tracked.attempt = min(tracked.attempt, ATTEMPTS_UNREACHABLE_MAX)
            log.warning("the pending command of %s is looked after again later: %s", resource, fault)
        finally:
            tracked.busy -= 1
            if self._open.get(resource) is tracked:
                self._replan(resource, tracked)

    def _replan(self, resource: str, tracked: _Tracked) -> None:
        pause = min(BACKOFF_SECONDS * 2.0**tracked.attempt, BACKOFF_SECONDS_MAX)
        self._plan(resource, tracked, RETRY_SECONDS if tracked.outcomes else pause)

    def _track(self, resource: str, command_id: str | None = None) -> _Tracked:
        tracked = self._open.setdefault(resource, _Tracked())
        if command_id is not None and command_id not in tracked.outcomes:
            tracked.commands.add(command_id)
            self._resource_of[command_id] = resource
        return tracked

    def _forget(self, resource: str, tracked: _Tracked) -> None:
        del self._open[resource]
        for command_id in tracked.commands:
            self._resource_of.pop(command_id, None)
        self._index.discard(resource)

    def _plan(self, resource: str, tracked: _Tracked, seconds: float) -> None:
        tracked.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._queue, (tracked.due, next(self._numbers), resource))
        self._changed.set()


def other_replicas(pod_name: str) -> list[str]:
    """The pod names that the first replica looks after; a later one looks after none."""
    name, dash, number = pod_name.rpartition("-")
    return [f"{name}-{each}" for each in range(1, REPLICAS_MAX)] if dash and number == "0" else []
