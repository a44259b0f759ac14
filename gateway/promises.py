"""Keeping what a 202 promised: each command is published again, with back-off, until its reply is seen.

Written down before the 202 is given, so that a restart goes on with it; a replica that is asked for a resource which
another one promised goes on with it too. What is in memory is only which promises there are and when each is due.
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

from chassis.errors import WorldFault
from chassis.sidecar import HttpSidecar
from gateway.command import Command, resource_of
from gateway.promise_index import Full, PromiseIndex
from gateway.promise_records import (
    Promised,
    PromiseRecord,
    PromiseRecords,
    Refusal,
    TooManyCommands,
)
from gateway.repeat_window import RepeatWindow

log = logging.getLogger(__name__)

BACKOFF_SECONDS = 2.0  # before the first repetition, then twice as long each time
BACKOFF_SECONDS_MAX = 3600.0  # a service that is away for a day finds some 30 copies of a command, not 40,000
ATTEMPTS_AWAY_MAX = 4  # while the broker or the store is away nothing is published: look every half minute
AT_ONCE_MAX = 10  # promises worked on at the same time
UNANSWERED_MAX = 10  # commands published again whose replies are waited for, each for so long:
UNANSWERED_SECONDS = 5.0
ADOPT_SECONDS = 10  # a promise that nobody touched for so long may have lost its replica
OTHERS_SECONDS = 60.0  # between two looks at what other replicas have promised
REPLICAS_MAX = 10  # gateway-0 to gateway-9
RETRY_SECONDS = 1.0  # after the store was away
NOT_READ = "the promises of before the restart are not read yet"
OPEN_MAX = 20_000  # promises that this replica carries, those of other replicas too; about 1 KB each


Publish = Callable[[str, bytes], Awaitable[None]]


class NotPromised(Exception):
    """The promise could not be written down; says why."""


@dataclass(slots=True)
class _Open:
    """A promise that is not settled: the commands we know of, the outcomes that are not written yet."""

    attempt: int = 0
    due: float = 0.0
    hurried: float = -ADOPT_SECONDS  # when it was published out of turn: by its request, or because a caller asked
    busy: int = 0  # who writes or works at this moment
    commands: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)  # the pending commands that the store is known to have
    outcomes: dict[str, Refusal | None] = field(default_factory=dict)


class Promises:
    """The promises that this replica carries."""

    def __init__(
        self, sidecar: HttpSidecar, pod_name: str, now: Callable[[], datetime], publish: Publish | None = None
    ) -> None:
        self._publish = publish or sidecar.publish
        self._health = sidecar.store
        self._now = now
        self._others = others_of(pod_name)
        self._records = PromiseRecords(sidecar, now)
        self._index = PromiseIndex(sidecar, pod_name)
        self._open: dict[str, _Open] = {}
        self._resource_of: dict[str, str] = {}  # by command id
        self._queue: list[tuple[float, int, str]] = []
        self._window = RepeatWindow(UNANSWERED_MAX, UNANSWERED_SECONDS, lambda: asyncio.get_running_loop().time())
        self._without_room: list[tuple[int, int, str]] = []  # due; published when the window has room, the newest first
        self._numbers = count()  # equally due: first come, first served
        self._changed = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._making: dict[str, asyncio.Task[Promised]] = {}  # by command id
        self._read = asyncio.Event()

    @property
    def resumed(self) -> bool:
        """Whether the promises of an earlier process are known."""
        return self._read.is_set()

    @property
    def why_late(self) -> str:
        """Why a promise is not made in time."""
        return "the store did not answer in time" if self.resumed else NOT_READ

    # --- Asked by the routes

    def start(self, command: Command) -> asyncio.Task[Promised]:
        """Begin to `make` the promise, or join the request that has begun it.

        Shield it: it goes on when the caller stops waiting, so that the repeated request finds it. It ends with `carry`
        at the latest.
        """
        making = self._making.get(command.id)
        if making is None:
            making = self._making[command.id] = asyncio.create_task(self.make(command))
            making.add_done_callback(lambda task: self._made(command.id, task))
        return making

    def _made(self, command_id: str, task: asyncio.Task[Promised]) -> None:
        del self._making[command_id]
        if not task.cancelled():
            task.exception()  # the requests that wait for it are told

    async def make(self, command: Command) -> Promised:
        """Write the promise down; returns it with its outcome, if it has one already. Raise NotPromised.

        While it is written, and after it, replies to the command are seen. Waits until what an earlier process has
        promised is read.
        """
        if command.resource not in self._open and len(self._open) >= OPEN_MAX:
            raise NotPromised(f"{OPEN_MAX} promises are open")
        promise = self._watch(command.resource, command.id)
        if command.id in promise.written:
            return Promised(command.id, command.topic, msgspec.Raw(command.event))
        promise.hurried = asyncio.get_running_loop().time()
        promise.busy += 1
        try:
            await self._read.wait()
            made, _ = await asyncio.gather(self._records.add(command), self._index.add(command.resource))
            if made.outcome == "pending" and command.id not in promise.outcomes:
                promise.written.add(command.id)
        except (WorldFault, Full, TooManyCommands) as error:
            raise NotPromised(str(error)) from error
        finally:
            promise.busy -= 1
            self._replan(command.resource, promise)  # not written? the worker finds out
        return made

    def carries(self, command: Command) -> bool:
        """Whether this replica publishes the command anyway; if it does, and not just now, it does so soon.

        A repeated request need not publish then: on a shop that is slow, each repetition would make it slower.
        """
        promise = self._open.get(command.resource)
        if promise is None or command.id not in promise.commands:
            return False
        self._hurry(command.resource, promise)
        return True

    async def look(self, location: str) -> PromiseRecord | None:
        """Return what is promised about a location; a promise that nobody seems to carry is carried from now on."""
        resource = resource_of(location)
        record = await self._records.load(resource)
        if record is None or record.location != location:
            return None
        self._adopt(resource, record)
        return record

    @property
    def store_refuses(self) -> bool:
        """Whether it is known that no promise can be written at this moment, for the store refuses all writes."""
        return bool(self._health.refuses)

    # --- Told by the replies

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self._open)

    def is_pending(self, command_id: str) -> bool:
        """Whether this replica carries this command."""
        return command_id in self._resource_of

    def settle(self, command_id: str, refusal: Refusal | None) -> None:
        """A reply came: the outcome will be written down, soon."""
        resource = self._resource_of.pop(command_id, None)
        if resource is not None:
            promise = self._open[resource]
            promise.outcomes[command_id] = refusal
            promise.written.discard(command_id)
            self._window.discard(resource)
            self._plan(resource, promise, 0)

    # --- The work

    async def carry(self) -> None:
        """Take up what an earlier process promised, then work on each promise when it is due, until cancelled."""
        try:
            await self._resume()
            while True:
                await self._work_on_what_is_due()
        finally:
            under_way = (*self._work, *self._making.values())
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def look_after_others(self) -> None:
        """Carry on, from now and then, what replicas that are gone have promised, until cancelled.

        Only the first replica does so. One that is not gone has its promise carried twice, which does no harm.
        """
        settled: set[str] = set()
        while self._others:
            await asyncio.sleep(OTHERS_SECONDS)
            try:
                settled = await self._adopt_from_others(settled)
            except WorldFault as fault:
                log.warning("what other gateways promised is looked after later: %s", fault)

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

    def _adopt(self, resource: str, record: PromiseRecord) -> None:
        """Carry a promise that nobody seems to carry; give one that waits its turn now, every ten seconds at most."""
        if not record.pending or self._now() - record.changed_at <= timedelta(seconds=ADOPT_SECONDS):
            return
        promise = self._open.get(resource)
        if promise is None and len(self._open) < OPEN_MAX:
            promise = self._watch(resource)
        if promise is not None:
            self._hurry(resource, promise)

    def _hurry(self, resource: str, promise: _Open) -> None:
        """Work on it now; every ADOPT_SECONDS at most."""
        now = asyncio.get_running_loop().time()
        if now - promise.hurried >= ADOPT_SECONDS:
            promise.hurried = now
            self._plan(resource, promise, 0)

    async def _resume(self) -> None:
        left: list[str] = []
        while not self.resumed:
            try:
                left = await self._index.read()
                self._read.set()
            except WorldFault:  # the sidecar is not up yet
                await asyncio.sleep(RETRY_SECONDS)
        if left:
            log.info("%d promises of before the restart go on", len(left))
        for resource in left:
            self._plan(resource, self._watch(resource), 0)

    async def _work_on_what_is_due(self) -> None:
        for _ in range(min(self._window.room, len(self._without_room))):
            _, _, resource = heapq.heappop(self._without_room)
            if (waiting := self._open.get(resource)) is not None and waiting.due == inf:
                self._plan(resource, waiting, 0)
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now and len(self._work) < AT_ONCE_MAX:
            due, _, resource = heapq.heappop(self._queue)
            promise = self._open.get(resource)
            if promise is not None and promise.due == due and not promise.busy:
                self._begin(resource, promise)
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

    def _begin(self, resource: str, promise: _Open) -> None:
        """Begin to work on a promise; without an outcome its command is published, so the window must have room."""
        if not promise.outcomes:
            if not self._window.room:
                promise.due = inf
                heapq.heappush(self._without_room, (promise.attempt, next(self._numbers), resource))
                return
            self._window.add(resource)
        promise.busy = 1
        task = asyncio.create_task(self._work_on(resource, promise))
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._changed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a bug in the work on a promise: %r", error)

    async def _work_on(self, resource: str, promise: _Open) -> None:
        """Write the outcomes that came, or publish the commands that have none; forget a promise that is settled."""
        written = dict(promise.outcomes)
        was_published = False
        if not written:
            promise.attempt += 1
        try:
            if written:
                record = await self._records.settle(resource, written)
                for command_id in written:
                    del promise.outcomes[command_id]
            else:
                record = await self._records.load(resource)
            pending = [] if record is None else record.pending
            for command in pending:
                self._watch(resource, command.id)
            promise.written = {command.id for command in pending} - promise.outcomes.keys()
            if not pending and promise.busy == 1:
                self._forget(resource, promise)
            elif not written:
                for command in pending:
                    await self._publish(command.topic, bytes(command.event))
                    was_published = True
        except WorldFault as fault:
            promise.attempt = min(promise.attempt, ATTEMPTS_AWAY_MAX)
            log.warning("the promise of %s is looked after again later: %s", resource, fault)
        finally:
            if not was_published:
                self._window.discard(resource)
            promise.busy -= 1
            if self._open.get(resource) is promise:
                self._replan(resource, promise)

    def _replan(self, resource: str, promise: _Open) -> None:
        pause = min(BACKOFF_SECONDS * 2.0**promise.attempt, BACKOFF_SECONDS_MAX)
        self._plan(resource, promise, RETRY_SECONDS if promise.outcomes else pause)

    def _watch(self, resource: str, command_id: str | None = None) -> _Open:
        promise = self._open.setdefault(resource, _Open())
        if command_id is not None and command_id not in promise.outcomes:
            promise.commands.add(command_id)
            self._resource_of[command_id] = resource
        return promise

    def _forget(self, resource: str, promise: _Open) -> None:
        del self._open[resource]
        for command_id in promise.commands:
            self._resource_of.pop(command_id, None)
        self._index.discard(resource)

    def _plan(self, resource: str, promise: _Open, seconds: float) -> None:
        promise.due = asyncio.get_running_loop().time() + seconds
        heapq.heappush(self._queue, (promise.due, next(self._numbers), resource))
        self._changed.set()


def others_of(pod_name: str) -> list[str]:
    """The pod names that the first replica looks after; a later one looks after none."""
    name, dash, number = pod_name.rpartition("-")
    return [f"{name}-{each}" for each in range(1, REPLICAS_MAX)] if dash and number == "0" else []
