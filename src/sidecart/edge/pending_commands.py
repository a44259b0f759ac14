"""Pending commands: recorded in the store before the gateway answers 202.

Each is published again until its reply arrives (src/sidecart/edge/pending_worker.py). A restart
resumes it, and a read makes a replica resume a command that another replica accepted. Memory holds
only which resources have pending commands, and when each is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec

from sidecart.chassis.errors import TransientError
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.command import Command, resource_of
from sidecart.edge.pending_index import IndexFull, PendingIndex
from sidecart.edge.pending_records import PendingCommand, PendingRecord, PendingRecords, Rejection, TooManyCommands
from sidecart.edge.pending_tracking import ADOPT_SECONDS, Tracking
from sidecart.edge.repeat_window import RepeatWindow

UNANSWERED_MAX = 10  # repeated commands that wait for their replies
UNANSWERED_SECONDS = 5.0  # a repeated command counts as unanswered for at most this long
NOT_RELOADED = "pending commands have not been reloaded yet"


class NotRecorded(Exception):
    """The gateway could not record a command as pending; the message gives the reason."""


class PendingCommands:
    """The pending commands of this replica."""

    def __init__(self, sidecar: Sidecar, pod_name: str, now: Callable[[], datetime]) -> None:
        self.tracking = Tracking()
        self.resource_of: Mapping[str, str] = self.tracking.resource_of
        """Maps the id of each command that this replica tracks to its resource."""
        self.records = PendingRecords(sidecar, now)
        self.index = PendingIndex(sidecar, pod_name)
        self.window = RepeatWindow(UNANSWERED_MAX, UNANSWERED_SECONDS, lambda: asyncio.get_running_loop().time())
        self.adding: dict[str, asyncio.Task[PendingCommand]] = {}
        """The tasks that record a command now, by its id."""
        self._now = now
        self._resumed = asyncio.Event()

    @property
    def resumed(self) -> bool:
        """True once the pending commands of an earlier process are loaded."""
        return self._resumed.is_set()

    def set_resumed(self) -> None:
        """Note that the pending commands of an earlier process are loaded."""
        self._resumed.set()

    @property
    def late_reason(self) -> str:
        """Why a command was not recorded in time."""
        return "the store did not answer in time" if self.resumed else NOT_RELOADED

    # --- Called by the routes

    def start_adding(self, command: Command) -> asyncio.Task[PendingCommand]:
        """Start to `add` a command, or return the task of a request that has started it.

        Shield the task: it continues when the caller stops waiting, so a repeated request finds the
        pending command. The task ends with the worker at the latest.
        """
        task = self.adding.get(command.id)
        if task is None:
            task = self.adding[command.id] = asyncio.create_task(self.add(command))
            task.add_done_callback(lambda done: self._added(command.id, done))
        return task

    def _added(self, command_id: str, task: asyncio.Task[PendingCommand]) -> None:
        del self.adding[command_id]
        if not task.cancelled():
            task.exception()  # marks the error as retrieved; the waiting requests raise it

    async def add(self, command: Command) -> PendingCommand:
        """Record a command as pending and return it; raise NotRecorded.

        The returned command has an outcome if the record has one. From the start of this call the
        gateway sees a reply to the command. The call waits until the pending commands of an earlier
        process are loaded.
        """
        if command.resource not in self.tracking.open and self.tracking.is_full:
            raise NotRecorded(f"{len(self.tracking.open)} commands are pending")
        tracked = self.tracking.track(command.resource, command.id)
        # The worker finds a record whose write to the index failed or is under way.
        if command.id in tracked.recorded and self.index.is_written(command.resource):
            return PendingCommand(command.id, command.topic, msgspec.Raw(command.event))
        tracked.expedited_at = asyncio.get_running_loop().time()
        tracked.busy += 1
        try:
            await self._resumed.wait()
            pending, _ = await asyncio.gather(self.records.add(command), self.index.add(command.resource))
            if pending.outcome == "pending" and command.id not in tracked.outcomes:
                tracked.recorded.add(command.id)
        except (TransientError, IndexFull, TooManyCommands) as error:
            raise NotRecorded(str(error)) from error
        finally:
            tracked.busy -= 1
            # After a failed write the worker finds no record and forgets the resource.
            self.tracking.replan(command.resource, tracked)
        return pending

    def expedite(self, command: Command) -> bool:
        """Return whether this replica tracks the command; if it does, make the command due now.

        A tracked command becomes due at most once in ADOPT_SECONDS. A repeated request need not
        publish it: each repetition would make a slow system slower.
        """
        tracked = self.tracking.open.get(command.resource)
        if tracked is None or command.id not in tracked.commands:
            return False
        self.tracking.expedite(command.resource, tracked)
        return True

    async def find(self, location: str) -> PendingRecord | None:
        """Return the record of a location, or None.

        If no replica seems to process its pending commands, this replica adopts them.
        """
        resource = resource_of(location)
        record = await self.records.load(resource)
        if record is None or record.location != location:
            return None
        self.adopt(resource, record)
        return record

    # --- Called by the handler of replies

    @property
    def count(self) -> int:
        """The number of resources with pending commands."""
        return len(self.tracking.open)

    def settle(self, command_id: str, rejection: Rejection | None) -> None:
        """Take the outcome of a command; a background task writes it to the store."""
        resource = self.tracking.resource_of.pop(command_id, None)
        if resource is not None:
            tracked = self.tracking.open[resource]
            tracked.outcomes[command_id] = rejection
            tracked.recorded.discard(command_id)
            self.window.discard(resource)
            self.tracking.plan(resource, tracked, 0)

    async def erase(self, resource: str) -> None:
        """Erase the record of a resource; the worker then forgets its commands."""
        await self.records.erase(resource)
        if (tracked := self.tracking.open.get(resource)) is not None:
            self.tracking.plan(resource, tracked, 0)

    def adopt(self, resource: str, record: PendingRecord) -> None:
        """Track the commands of a record that no replica seems to process.

        If this replica tracks them already, make them due now, at most once in ADOPT_SECONDS.
        """
        if not record.pending or self._now() - record.changed_at <= timedelta(seconds=ADOPT_SECONDS):
            return
        tracked = self.tracking.open.get(resource)
        if tracked is None and not self.tracking.is_full:
            tracked = self.tracking.track(resource)
        if tracked is not None:
            self.tracking.expedite(resource, tracked)
