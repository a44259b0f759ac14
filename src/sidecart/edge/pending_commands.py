"""Pending commands: each is published again, with back-off, until its reply arrives.

The gateway records a pending command in the store before it answers 202, so a restart resumes it. A
read makes a replica resume a command that another replica accepted. Memory holds only which
resources have pending commands, and when each is due.
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
from math import inf

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.sidecar import HttpSidecar
from sidecart.edge.command import Command, resource_of
from sidecart.edge.pending_index import IndexFull, PendingIndex
from sidecart.edge.pending_records import (
    PendingCommand,
    PendingRecord,
    PendingRecords,
    Rejection,
    TooManyCommands,
)
from sidecart.edge.repeat_window import RepeatWindow

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 2.0  # before the first repetition; it doubles each time
BACKOFF_SECONDS_MAX = 3600.0  # a service that was down for a day finds about 30 copies, not 40,000
# While the broker or the store is unreachable, nothing is published: retry every half minute.
ATTEMPTS_UNREACHABLE_MAX = 4
AT_ONCE_MAX = 10  # resources processed at the same time
UNANSWERED_MAX = 10  # repeated commands that wait for their replies
UNANSWERED_SECONDS = 5.0  # a repeated command counts as unanswered for at most this long
ADOPT_SECONDS = 10  # a pending command unchanged for this long may have lost its replica
OTHERS_SECONDS = 60.0  # between two scans of the pending commands of other replicas
REPLICAS_MAX = 10  # gateway-0 to gateway-9
RETRY_SECONDS = 1.0  # after the store was unreachable
NOT_RELOADED = "pending commands have not been reloaded yet"
OPEN_MAX = 20_000  # resources that this replica tracks, adopted ones included; about 1 KB each


Publish = Callable[[str, bytes], Awaitable[None]]


class NotRecorded(Exception):
    """The gateway could not record a command as pending; the message gives the reason."""


@dataclass(slots=True)
class _Tracked:
    """A resource with pending commands: the known commands, and the outcomes not yet written."""

    attempt: int = 0
    due: float = 0.0
    expedited_at: float = -ADOPT_SECONDS  # last time that a request published it or made it due at once
    busy: int = 0  # number of tasks that work on it now
    commands: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)  # pending commands that the store has
    outcomes: dict[str, Rejection | None] = field(default_factory=dict)


class PendingCommands:
    """The pending commands of this replica."""

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
        self._window = RepeatWindow(UNANSWERED_MAX, UNANSWERED_SECONDS, lambda: asyncio.get_running_loop().time())
        # Resources that are due while the window is full, those with the fewest attempts first.
        self._without_room: list[tuple[int, int, str]] = []
        self._sequence = count()  # breaks ties in the queues: first in, first out
        self._changed = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._adding: dict[str, asyncio.Task[PendingCommand]] = {}  # by command id
        self._resumed = asyncio.Event()

    @property
    def resumed(self) -> bool:
        """True once the pending commands of an earlier process are loaded."""
        return self._resumed.is_set()

    @property
    def late_reason(self) -> str:
        """Why a command was not recorded in time."""
        return "the store did not answer in time" if self.resumed else NOT_RELOADED

    # --- Called by the routes

    def start_adding(self, command: Command) -> asyncio.Task[PendingCommand]:
        """Start to `add` a command, or return the task of a request that has started it.

        Shield the task: it continues when the caller stops waiting, so a repeated request finds the
        pending command. The task ends with `carry` at the latest.
        """
        task = self._adding.get(command.id)
        if task is None:
            task = self._adding[command.id] = asyncio.create_task(self.add(command))
            task.add_done_callback(lambda done: self._added(command.id, done))
        return task

    def _added(self, command_id: str, task: asyncio.Task[PendingCommand]) -> None:
        del self._adding[command_id]
        if not task.cancelled():
            task.exception()  # marks the error as retrieved; the waiting requests raise it

    async def add(self, command: Command) -> PendingCommand:
        """Record a command as pending and return it; raise NotRecorded.

        The returned command has an outcome if the record has one. From the start of this call the
        gateway sees a reply to the command. The call waits until the pending commands of an earlier
        process are loaded.
        """
        if command.resource not in self._open and len(self._open) >= OPEN_MAX:
            raise NotRecorded(f"{OPEN_MAX} commands are pending")
        tracked = self._track(command.resource, command.id)
        if command.id in tracked.recorded:
            return PendingCommand(command.id, command.topic, msgspec.Raw(command.event))
        tracked.expedited_at = asyncio.get_running_loop().time()
        tracked.busy += 1
        try:
            await self._resumed.wait()
            pending, _ = await asyncio.gather(self._records.add(command), self._index.add(command.resource))
            if pending.outcome == "pending" and command.id not in tracked.outcomes:
                tracked.recorded.add(command.id)
        except (TransientError, IndexFull, TooManyCommands) as error:
            raise NotRecorded(str(error)) from error
        finally:
            tracked.busy -= 1
            # After a failed write the worker finds no record and forgets the resource.
            self._replan(command.resource, tracked)
        return pending

    def expedite(self, command: Command) -> bool:
        """Return whether this replica tracks the command; if it does, make the command due now.

        A tracked command becomes due at most once in ADOPT_SECONDS. A repeated request need not
        publish it: each repetition would make a slow shop slower.
        """
        tracked = self._open.get(command.resource)
        if tracked is None or command.id not in tracked.commands:
            return False
        self._expedite(command.resource, tracked)
        return True

    async def find(self, location: str) -> PendingRecord | None:
        """Return the record of a location, or None.

        If no replica seems to process its pending commands, this replica adopts them.
        """
        resource = resource_of(location)
        record = await self._records.load(resource)
        if record is None or record.location != location:
            return None
        self._adopt(resource, record)
        return record

    @property
    def store_refuses(self) -> bool:
        """True while the store is known to refuse all writes, so no command can become pending."""
        return bool(self._health.write_refusal)

    # --- Called by the handler of replies

    @property
    def count(self) -> int:
        """The number of resources with pending commands."""
        return len(self._open)

    def is_pending(self, command_id: str) -> bool:
        """Return whether this replica tracks the command."""
        return command_id in self._resource_of

    def settle(self, command_id: str, rejection: Rejection | None) -> None:
        """Take the outcome of a command; a background task writes it to the store."""
        resource = self._resource_of.pop(command_id, None)
        if resource is not None:
            tracked = self._open[resource]
            tracked.outcomes[command_id] = rejection
            tracked.recorded.discard(command_id)
            self._window.discard(resource)
            self._plan(resource, tracked, 0)

    # --- Background work

    async def carry(self) -> None:
        """Resume the commands of an earlier process, then process each when it is due.

        Run until cancelled.
        """
        try:
            await self._resume()
            while True:
                await self._work_on_due()
        finally:
            tasks = (*self._work, *self._adding.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def adopt_from_other_replicas(self) -> None:
        """Adopt the pending commands of replicas that are gone, at regular intervals.

        Run until cancelled. Only the first replica does this. If the other replica still runs, both
        publish its commands, which does no harm.
        """
        settled: set[str] = set()
        while self._others:
            await asyncio.sleep(OTHERS_SECONDS)
            try:
                settled = await self._adopt_from_others(settled)
            except TransientError as fault:
                log.warning("cannot read the pending commands of other gateways; retrying: %s", fault)

    async def _adopt_from_others(self, settled: set[str]) -> set[str]:
        """Scan all resources that are not known to be settled, and return the settled ones."""
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
        """Track the commands of a record that no replica seems to process.

        If this replica tracks them already, make them due now, at most once in ADOPT_SECONDS.
        """
        if not record.pending or self._now() - record.changed_at <= timedelta(seconds=ADOPT_SECONDS):
            return
        tracked = self._open.get(resource)
        if tracked is None and len(self._open) < OPEN_MAX:
            tracked = self._track(resource)
        if tracked is not None:
            self._expedite(resource, tracked)

    def _expedite(self, resource: str, tracked: _Tracked) -> None:
        """Make a resource due now, at most once in ADOPT_SECONDS."""
        now = asyncio.get_running_loop().time()
        if now - tracked.expedited_at >= ADOPT_SECONDS:
            tracked.expedited_at = now
            self._plan(resource, tracked, 0)

    async def _resume(self) -> None:
        resources: list[str] = []
        while not self.resumed:
            try:
                resources = await self._index.read()
                self._resumed.set()
            except TransientError:  # the sidecar is not up yet
                await asyncio.sleep(RETRY_SECONDS)
        if resources:
            log.info("resuming %d pending commands from before the restart", len(resources))
        for resource in resources:
            self._plan(resource, self._track(resource), 0)

    async def _work_on_due(self) -> None:
        for _ in range(min(self._window.room, len(self._without_room))):
            _, _, resource = heapq.heappop(self._without_room)
            if (waiting := self._open.get(resource)) is not None and waiting.due == inf:
                self._plan(resource, waiting, 0)
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and len(self._work) < AT_ONCE_MAX:
            due, _, resource = heapq.heappop(self._queue)
            tracked = self._open.get(resource)
            if tracked is not None and tracked.due == due and not tracked.busy:
                self._start_work(resource, tracked)
        seconds = None
        if len(self._work) < AT_ONCE_MAX:
            if self._queue:
                seconds = max(self._queue[0][0] - now, 0)
            if self._without_room:
                seconds = min(self._window.room_in, inf if seconds is None else seconds)
        self._changed.clear()
        with suppress(TimeoutError):  # not wait_for: in Python 3.11 it may swallow a cancellation
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _start_work(self, resource: str, tracked: _Tracked) -> None:
        """Start a task for a resource, or let it wait for room in the window.

        Only a resource without an outcome needs room, because its commands are published.
        """
        if not tracked.outcomes:
            if not self._window.room:
                tracked.due = inf
                heapq.heappush(self._without_room, (tracked.attempt, next(self._sequence), resource))
                return
            self._window.add(resource)
        tracked.busy = 1
        task = asyncio.create_task(self._work_on(resource, tracked))
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected error in the processing of a pending command: %r", error)

    async def _work_on(self, resource: str, tracked: _Tracked) -> None:
        """Write the outcomes that arrived, or publish the commands without an outcome.

        Forget a resource whose commands are all settled.
        """
        written = dict(tracked.outcomes)
        was_published = False
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
            tracked.recorded = {command.id for command in pending} - tracked.outcomes.keys()
            if not pending and tracked.busy == 1:
                self._forget(resource, tracked)
            elif not written:
                for command in pending:
                    await self._publish(command.topic, bytes(command.event))
                    was_published = True
        except TransientError as fault:
            tracked.attempt = min(tracked.attempt, ATTEMPTS_UNREACHABLE_MAX)
            log.warning("the pending command of %s will be retried: %s", resource, fault)
        finally:
            if not was_published:
                self._window.discard(resource)
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
        heapq.heappush(self._queue, (tracked.due, next(self._sequence), resource))
        self._changed.set()


def other_replicas(pod_name: str) -> list[str]:
    """Return the pod names whose commands the first replica adopts; none for any other replica."""
    name, dash, number = pod_name.rpartition("-")
    return [f"{name}-{each}" for each in range(1, REPLICAS_MAX)] if dash and number == "0" else []
