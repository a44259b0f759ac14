"""Held requests: HTTP requests whose responses wait for the events that answer them.

This is synchronous request-reply over a broker. The dispatcher publishes a command and holds its
request until the reply arrives. At half of the wait it publishes the command once more, and starts
to record it as pending. At the end of the wait the record must be complete. A command that starts a
flow is written to the journal before the gateway responds (src/sidecart/edge/journal.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from sidecart.chassis.errors import SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.sidecar import Sidecar
from sidecart.chassis.telemetry import request_context
from sidecart.edge.command import Command, Deadline
from sidecart.edge.declarations import FlowDeclaration
from sidecart.edge.journal import Journal
from sidecart.edge.metrics import ACCEPTED, HELD_SECONDS
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.problems import Problem, unavailable

log = logging.getLogger(__name__)

HELD_MAX = 20_000  # requests that one gateway holds at the same time; each takes a few KB
PUBLISH_SECONDS_MAX = 5.0  # well below the time that a gateway gives its held requests at shutdown
PUBLISH_SECONDS_MIN = 0.25  # for the first publish, even without a wait; it takes milliseconds
REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An event that answers a command; the receiver decodes the data."""

    topic: str
    data: msgspec.Raw


class HeldRequests:
    """The requests that this process holds, by the id of the command that each waits for."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Future[Reply | None]]] = {}
        self._count = 0
        self._released = False

    @contextmanager
    def hold(self, command_id: str) -> Iterator[asyncio.Future[Reply | None]]:
        """Yield a future of the reply; its result is None once all requests are released.

        Several requests may wait for one command. Raise Problem 503 when too many requests are
        held.
        """
        if self._count >= HELD_MAX:
            raise unavailable(f"{HELD_MAX} requests are held already; try again")
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(command_id, set())
        waiting.add(future)
        self._count += 1
        if self._released:
            future.set_result(None)
        try:
            yield future
        finally:
            self._count -= 1
            waiting.discard(future)
            if not waiting and self._waiting.get(command_id) is waiting:
                del self._waiting[command_id]

    @property
    def count(self) -> int:
        """The number of requests that are held now."""
        return self._count

    def is_waiting(self, command_id: str) -> bool:
        """Return whether a request waits for the reply to this command."""
        return command_id in self._waiting

    def settle(self, command_id: str, reply: Reply) -> None:
        """Give the reply to all requests that wait for it."""
        for future in self._waiting.pop(command_id, ()):
            if not future.done():
                future.set_result(reply)

    def release(self) -> None:
        """End all current and future waits without a reply: this process is shutting down."""
        self._released = True
        for waiting in self._waiting.values():
            for future in waiting:
                if not future.done():
                    future.set_result(None)


class CommandDispatcher:
    """Publishes commands and waits for their replies."""

    def __init__(
        self,
        sidecar: Sidecar,
        held: HeldRequests,
        pending_commands: PendingCommands,
        journal: Journal,
        rejections: Set[str],
        reply_to: str = "",
    ) -> None:
        self.reply_to = reply_to
        """The reply address of this gateway; empty if it reads the shared topics."""
        self._sidecar = sidecar
        self._held = held
        self._pending_commands = pending_commands
        self._journal = journal
        self._rejections = rejections
        self._credit = REPUBLISH_CREDIT_MAX

    async def dispatch(
        self, command: Command, deadline: Deadline, starts: FlowDeclaration | None = None
    ) -> Reply | None:
        """Return the reply, or None if the wait is over and the command is pending.

        `starts` is the flow that the command starts. Raise NotRecorded or Problem. Before this
        returns, the journal has each accepted command that starts a flow, if the store answers in
        time. After NotRecorded the flow stays in the journal, because the command may have been
        published. The call never takes longer than the deadline allows.
        """
        if starts is None:
            return await self._hold(command, deadline)
        flow, is_new = self._journal.add(starts.name, command.flow or command.resource)
        try:
            reply = await self._hold(command, deadline)
        except Problem:  # the command was not sent, or it was rejected
            if is_new:
                self._journal.end(flow)
            raise
        if reply is not None and reply.topic in self._rejections:
            if is_new:
                self._journal.end(flow)
        elif not await self._journal.written(flow, deadline.left_to_answer):
            # The reply is still valid. If this process crashes now, no process checks the flow.
            log.warning("%s %s is accepted but not in the journal yet", flow.kind, flow.resource)
        return reply

    async def _hold(self, command: Command, deadline: Deadline) -> Reply | None:
        if (context := request_context.current()) is not None:
            context.set_event(command.topic, command.id)
        with self._held.hold(command.id) as reply, HELD_SECONDS.labels(command.topic).time():
            try:
                async with asyncio.timeout_at(deadline.answer_by):
                    return await self._publish_and_wait(command, deadline, reply)
            except (NotRecorded, TimeoutError) as fault:
                if arrived := _arrived(reply):  # during the write of the pending command
                    return arrived
                raise NotRecorded(str(fault) or self._pending_commands.late_reason) from fault

    async def _publish_and_wait(
        self, command: Command, deadline: Deadline, reply: asyncio.Future[Reply | None]
    ) -> Reply | None:
        half = deadline.left / 2
        # A repeated request need not publish a pending command: it would make a slow system slower.
        if command.id not in self._pending_commands.resource_of or not self._pending_commands.expedite(command):
            await self._publish_first(command, max(min(half, PUBLISH_SECONDS_MAX), deadline.share(PUBLISH_SECONDS_MIN)))
        if half:
            await asyncio.wait((reply,), timeout=max(deadline.left - half, 0))
            if not reply.done():
                # When replies are late, the store is slow too. The time after the wait is then too
                # short for the write.
                self._pending_commands.start_adding(command)
                await self._publish_again(command, min(deadline.left, PUBLISH_SECONDS_MAX))
                await asyncio.wait((reply,), timeout=deadline.left)
        if arrived := _arrived(reply):
            return arrived
        # The write continues after a 503, so a repeated request finds the pending command.
        pending = await asyncio.shield(self._pending_commands.start_adding(command))
        if arrived := _arrived(reply):  # during the write of the pending command
            return arrived
        if pending.rejection is not None:
            raise pending.rejection.problem()
        ACCEPTED.labels(command.topic).inc()
        return None

    async def _publish_first(self, command: Command, seconds_max: float) -> None:
        self._credit = min(self._credit + REPUBLISH_SHARE, REPUBLISH_CREDIT_MAX)
        try:
            await self._sidecar.publish(command.topic, command.event, seconds_max)
        except SidecarUnreachable as fault:
            raise unavailable("nothing was sent: the gateway's sidecar is unreachable") from fault
        except SidecarUnavailable as fault:  # it may have been sent, so the request stays held
            log.warning("%s may not have been published: %s", command.topic, fault)

    async def _publish_again(self, command: Command, seconds_max: float) -> None:
        if self._credit < 1:
            return
        self._credit -= 1
        try:
            await self._sidecar.publish(command.topic, command.event, seconds_max)
        except SidecarUnavailable as fault:
            log.warning("%s was not published again: %s", command.topic, fault)


def _arrived(reply: asyncio.Future[Reply | None]) -> Reply | None:
    """Return the reply if it has arrived, else None.

    The future resolves to None when the gateway shuts down.
    """
    return reply.result() if reply.done() else None
