"""The worker of pending commands: publishes each again, with back-off, until its reply arrives."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from math import inf

from sidecart.chassis.errors import TransientError
from sidecart.chassis.reply_topics import readdressed
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_tracking import RETRY_SECONDS, Tracked
from sidecart.edge.replicas import OTHERS_SECONDS, Replicas

log = logging.getLogger(__name__)

# While the broker or the store is unreachable, nothing is published: retry every half minute.
ATTEMPTS_UNREACHABLE_MAX = 4
AT_ONCE_MAX = 10  # resources processed at the same time

Publish = Callable[[str, bytes], Awaitable[None]]


def republisher(sidecar: Sidecar, reply_to: str) -> Publish:
    """Return a function that publishes a stored command again, so that its reply comes here.

    The command may name a gateway that is gone. `reply_to` is empty if this gateway reads the
    shared topics.
    """

    async def publish(topic: str, event: bytes) -> None:
        await sidecar.publish(topic, readdressed(event, reply_to))

    return publish


class PendingWorker:
    """Works on the pending commands of one replica, and adopts those of replicas that are gone."""

    def __init__(self, pending_commands: PendingCommands, publish: Publish, replicas: Replicas) -> None:
        self._pending = pending_commands
        self._tracking = pending_commands.tracking
        self._publish = publish
        self._replicas = replicas
        # Resources that are due while the window is full, those with the fewest attempts first.
        self._without_room: list[tuple[int, int, str]] = []
        self._sequence = count()  # breaks ties: first in, first out
        self._work: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Resume the commands of an earlier process, then process each when it is due.

        Run until cancelled.
        """
        try:
            await self._resume()
            while True:
                await self._work_on_due()
        finally:
            tasks = (*self._work, *self._pending.adding.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def adopt_from_other_replicas(self) -> None:
        """Adopt the pending commands of replicas that are gone, at regular intervals.

        Run until cancelled. Only the first running replica does this.
        """
        settled: set[str] = set()
        while True:
            await asyncio.sleep(OTHERS_SECONDS)
            try:
                settled = await self.adopt_from_lost(settled)
            except TransientError as fault:
                log.warning("cannot read the pending commands of other gateways; retrying: %s", fault)

    async def adopt_from_lost(self, settled: set[str]) -> set[str]:
        """Scan the resources of replicas that are gone, and adopt their pending commands.

        `settled` are those that an earlier scan found settled; return them with the new ones. Raise
        TransientError.
        """
        index = self._pending.index
        lost = await index.with_pages(await self._replicas.lost())
        ids = {resource for other in lost for resource in await index.ids_of(other)}
        settled &= ids
        for resource in sorted(ids - settled - self._tracking.open.keys()):
            record = await self._pending.records.load(resource)
            if record is None or not record.pending:
                settled.add(resource)
            else:
                self._pending.adopt(resource, record)
        return settled

    async def _resume(self) -> None:
        resources: list[str] = []
        while not self._pending.resumed:
            try:
                resources = await self._pending.index.read()
                self._pending.set_resumed()
            except TransientError:  # the sidecar is not up yet
                await asyncio.sleep(RETRY_SECONDS)
        if resources:
            log.info("resuming %d pending commands from before the restart", len(resources))
        for resource in resources:
            self._tracking.plan(resource, self._tracking.track(resource), 0)

    async def _work_on_due(self) -> None:
        for _ in range(min(self._pending.window.room, len(self._without_room))):
            _, _, resource = heapq.heappop(self._without_room)
            if (waiting := self._tracking.open.get(resource)) is not None and waiting.due == inf:
                self._tracking.plan(resource, waiting, 0)
        if self._has_capacity:
            self._tracking.take_due(self._start_work)
        seconds = None
        if self._has_capacity:
            if (due := self._tracking.next_due) is not None:
                seconds = max(due - asyncio.get_running_loop().time(), 0)
            if self._without_room:
                seconds = min(self._pending.window.room_in, inf if seconds is None else seconds)
        self._tracking.changed.clear()
        with suppress(TimeoutError):  # not wait_for: in Python 3.11 it may swallow a cancellation
            async with asyncio.timeout(seconds):
                await self._tracking.changed.wait()

    @property
    def _has_capacity(self) -> bool:
        return len(self._work) < AT_ONCE_MAX

    def _start_work(self, resource: str, tracked: Tracked) -> bool:
        """Start a task for a resource, or let it wait for room in the window.

        Return whether another task may start. Only a resource without an outcome needs room,
        because its commands are published.
        """
        if not tracked.outcomes:
            if not self._pending.window.room:
                tracked.due = inf
                heapq.heappush(self._without_room, (tracked.attempt, next(self._sequence), resource))
                return True
            self._pending.window.add(resource)
        tracked.busy = 1
        task = asyncio.create_task(self.work_on(resource, tracked))
        self._work.add(task)
        task.add_done_callback(self._done)
        return self._has_capacity

    def _forget(self, resource: str) -> None:
        self._tracking.forget(resource)
        self._pending.index.discard(resource)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._tracking.changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("unexpected error in the processing of a pending command: %r", error)

    async def work_on(self, resource: str, tracked: Tracked) -> None:
        """Write the outcomes that arrived, or publish the commands without an outcome.

        Forget a resource whose commands are all settled.
        """
        written = dict(tracked.outcomes)
        was_published = False
        if not written:
            tracked.attempt += 1
        try:
            if written:
                record = await self._pending.records.settle(resource, written)
                for command_id in written:
                    del tracked.outcomes[command_id]
            else:
                record = await self._pending.records.load(resource)
            pending = [] if record is None else record.pending
            for command in pending:
                self._tracking.track(resource, command.id)
            tracked.recorded = {command.id for command in pending} - tracked.outcomes.keys()
            if not pending and tracked.busy == 1:
                self._forget(resource)
            elif not written:
                for command in pending:
                    await self._publish(command.topic, bytes(command.event))
                    was_published = True
        except TransientError as fault:
            tracked.attempt = min(tracked.attempt, ATTEMPTS_UNREACHABLE_MAX)
            log.warning("the pending command of %s will be retried: %s", resource, fault)
        finally:
            if not was_published:
                self._pending.window.discard(resource)
            tracked.busy -= 1
            if self._tracking.open.get(resource) is tracked:
                self._tracking.replan(resource, tracked)
