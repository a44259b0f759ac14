"""Publishes a command and holds the request until its reply arrives.

At half of the wait the dispatcher publishes the command once more, and starts to record it as
pending. At the end of the wait the record must be complete. A command that starts a flow is written
to the journal before the gateway responds (src/sidecart/edge/journal.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Set

from sidecart.chassis.errors import SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.telemetry import request_context
from sidecart.edge.command import Command
from sidecart.edge.deadline import Deadline
from sidecart.edge.held_requests import HeldRequests, Reply
from sidecart.edge.journal import Journal
from sidecart.edge.metrics import ACCEPTED, HELD_SECONDS
from sidecart.edge.pending_commands import NotRecorded, PendingCommands
from sidecart.edge.problems import Problem, unavailable
from sidecart.edge.publishing import Publishing
from sidecart.edge.reconciler import Reconciler

log = logging.getLogger(__name__)

PUBLISH_SECONDS_MAX = 5.0  # well below the time that a gateway gives its held requests at shutdown
PUBLISH_SECONDS_MIN = 0.25  # for the first publish, even without a wait; it takes milliseconds
REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 20.0


class CommandDispatcher:
    """Publishes commands and waits for their replies."""

    def __init__(
        self,
        publishing: Publishing,
        held: HeldRequests,
        pending_commands: PendingCommands,
        journal: Journal,
        reconciler: Reconciler,
        rejections: Set[str],
    ) -> None:
        self._publishing = publishing
        self._held = held
        self._pending_commands = pending_commands
        self._journal = journal
        self._reconciler = reconciler
        self._rejections = rejections
        self._credit = REPUBLISH_CREDIT_MAX

    async def dispatch(self, command: Command, deadline: Deadline) -> Reply | None:
        """Return the reply, or None if the wait is over and the command is pending.

        Raise NotRecorded or Problem. Before this returns, the journal has each accepted command
        that starts a flow, if the store answers in time. After NotRecorded the flow stays in the
        journal, because the command may have been published. The call never takes longer than the
        deadline allows.
        """
        kind = self._reconciler.flows.by_topic.get(command.topic)
        if kind is None:
            return await self._hold(command, deadline)
        flow, is_new = self._reconciler.add(kind, command.resource)
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
        if not self._pending_commands.expedite(command):
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
            await self._publishing.publish(command.topic, command.event, seconds_max)
        except SidecarUnreachable as fault:
            raise unavailable("nothing was sent: the gateway's sidecar is unreachable") from fault
        except SidecarUnavailable as fault:  # it may have been sent, so the request stays held
            log.warning("%s may not have been published: %s", command.topic, fault)

    async def _publish_again(self, command: Command, seconds_max: float) -> None:
        if self._credit < 1:
            return
        self._credit -= 1
        try:
            await self._publishing.publish(command.topic, command.event, seconds_max)
        except SidecarUnavailable as fault:
            log.warning("%s was not published again: %s", command.topic, fault)


def _arrived(reply: asyncio.Future[Reply | None]) -> Reply | None:
    """Return the reply if it has arrived, else None.

    The future resolves to None when the gateway shuts down.
    """
    return reply.result() if reply.done() else None
