"""The promise behind a 202: the command is published again until its reply is seen; a GET is answered meanwhile.

Kept in this process only: what a restart forgets is repeated by its caller with the same Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field

from chassis.errors import WorldFault
from chassis.sidecar import HttpSidecar
from gateway.problems import Problem

log = logging.getLogger(__name__)

PROMISES_MAX = 10_000
REFUSALS_MAX = 10_000
BACKOFF_SECONDS = (1, 2, 4, 8, 15, 30, 60)  # then every 60 s


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it goes to the broker, and where what it makes will be found."""

    id: str
    topic: str
    location: str
    event: bytes


@dataclass(slots=True)
class _Promise:
    command: Command
    seen: asyncio.Event = field(default_factory=asyncio.Event)


class Promises:
    """The promises of this process, and the refusals that some of them ended with."""

    def __init__(self, sidecar: HttpSidecar) -> None:
        self._sidecar = sidecar
        self._pending: dict[str, _Promise] = {}
        self._locations: dict[str, str] = {}
        self._refusals: OrderedDict[str, Problem] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def make(self, command: Command) -> bool:
        """Promise to carry a command through; False when there are too many promises already."""
        if command.id in self._pending:
            return True
        if len(self._pending) >= PROMISES_MAX:
            return False
        promise = self._pending[command.id] = _Promise(command)
        self._locations.setdefault(command.location, command.id)
        task = asyncio.create_task(self._keep(promise))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def is_pending(self, command_id: str) -> bool:
        """Whether this command is promised and not yet answered."""
        return command_id in self._pending

    def settle(self, command_id: str, refusal: Problem | None) -> None:
        """A reply came: the promise is kept; a refusal is remembered for whoever asks for the resource."""
        promise = self._pending.pop(command_id, None)
        if promise is None:
            return
        promise.seen.set()
        location = promise.command.location
        if self._locations.get(location) == command_id:
            del self._locations[location]
            if refusal is not None:
                self._refusals[location] = refusal
                if len(self._refusals) > REFUSALS_MAX:
                    self._refusals.popitem(last=False)

    def promised(self, location: str) -> bool:
        """Whether the resource of this location is promised; raise the Problem that the promise ended with."""
        if location in self._refusals:
            raise self._refusals[location]
        return location in self._locations

    async def close(self) -> None:
        """Stop keeping promises: the process ends."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep(self, promise: _Promise) -> None:
        attempt = 0
        while True:
            seconds = BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)]
            with suppress(TimeoutError):
                await asyncio.wait_for(promise.seen.wait(), seconds)
                return
            attempt += 1
            try:
                await self._sidecar.publish(promise.command.topic, promise.command.event)
            except WorldFault as fault:
                log.warning("%s is published again later: %s", promise.command.topic, fault)
