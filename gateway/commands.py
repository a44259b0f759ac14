"""Carrying a command through: publish, hold, publish once more at half time, and promise when the time is over.

A command that starts a flow is in the journal before it is answered (gateway/journal.py).
"""

from __future__ import annotations

import asyncio
import logging

from chassis import handled
from chassis.errors import SidecarAway, Unreached
from gateway.calls import REJECTIONS
from gateway.command import Command
from gateway.deadline import Deadline
from gateway.flows import KIND_OF_TOPIC
from gateway.held import Held, Reply
from gateway.journal import Journal
from gateway.metrics import HELD_SECONDS, PROMISED
from gateway.problems import Problem, unavailable
from gateway.promises import NotPromised, Promises
from gateway.publishing import Publishing
from gateway.reconciler import Reconciler

log = logging.getLogger(__name__)

PUBLISH_SECONDS_MAX = 5.0  # well below what a gateway that is told to stop grants to the requests that it holds
PUBLISH_SECONDS_MIN = 0.25  # for the first publish, also of a request that does not wait; it takes milliseconds
REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 20.0


class Commands:
    """Publishes commands and waits for their replies."""

    def __init__(
        self, publishing: Publishing, held: Held, promises: Promises, journal: Journal, reconciler: Reconciler
    ) -> None:
        self._publishing = publishing
        self._held = held
        self._promises = promises
        self._journal = journal
        self._reconciler = reconciler
        self._credit = REPUBLISH_CREDIT_MAX

    async def carry(self, wanted: Command, deadline: Deadline) -> Reply | None:
        """Return the reply, or None when the time is over and the command is promised; raise NotPromised, Problem.

        An accepted command that starts a flow is in the journal by then. NotPromised leaves it there: it may have been
        published. Whatever happens, this takes no longer than the deadline allows.
        """
        kind = KIND_OF_TOPIC.get(wanted.topic)
        if kind is None:
            return await self._hold(wanted, deadline)
        flow, is_new = self._reconciler.begin(kind, wanted.resource)
        try:
            reply = await self._hold(wanted, deadline)
        except Problem:  # nothing was sent, or it was rejected
            if is_new:
                self._journal.end(flow)
            raise
        if reply is not None and reply.topic in REJECTIONS:
            if is_new:
                self._journal.end(flow)
        elif not await self._journal.written(flow, deadline.left_to_answer):
            # The reply is a fact all the same. What is missing is the memory of it, should this process end right now.
            log.warning("%s %s is accepted and not in the journal yet", flow.kind, flow.resource)
        return reply

    async def _hold(self, wanted: Command, deadline: Deadline) -> Reply | None:
        if (about := handled.now()) is not None:
            about.leads_to(wanted.topic, wanted.id)
        with self._held.hold(wanted.id) as reply, HELD_SECONDS[wanted.topic].time():
            try:
                async with asyncio.timeout_at(deadline.answer_by):
                    return await self._carry(wanted, deadline, reply)
            except (NotPromised, TimeoutError) as fault:
                if came := _came(reply):  # while the promise was written
                    return came
                raise NotPromised(str(fault) or self._promises.why_late) from fault

    async def _carry(self, wanted: Command, deadline: Deadline, reply: asyncio.Future[Reply | None]) -> Reply | None:
        half = deadline.left / 2
        if not self._promises.carries(wanted):
            await self._publish_first(wanted, max(min(half, PUBLISH_SECONDS_MAX), deadline.share(PUBLISH_SECONDS_MIN)))
        if half:
            await asyncio.wait((reply,), timeout=max(deadline.left - half, 0))
            if not reply.done():
                # Where replies are late, the store is late too: what follows the wait is too short to begin then.
                self._promises.start(wanted)
                await self._publish_again(wanted, min(deadline.left, PUBLISH_SECONDS_MAX))
                await asyncio.wait((reply,), timeout=deadline.left)
        if came := _came(reply):
            return came
        promised = await asyncio.shield(self._promises.start(wanted))  # a repeated request finds it, also after a 503
        if came := _came(reply):  # while the promise was written
            return came
        if promised.refusal is not None:
            raise promised.refusal.problem()
        PROMISED[wanted.topic].inc()
        return None

    async def _publish_first(self, wanted: Command, seconds_max: float) -> None:
        self._credit = min(self._credit + REPUBLISH_SHARE, REPUBLISH_CREDIT_MAX)
        try:
            await self._publishing.publish(wanted.topic, wanted.event, seconds_max)
        except Unreached as fault:
            raise unavailable("nothing was sent: the gateway's sidecar is away") from fault
        except SidecarAway as fault:  # it may have been sent, so the request stays held
            log.warning("%s may not have been published: %s", wanted.topic, fault)

    async def _publish_again(self, wanted: Command, seconds_max: float) -> None:
        if self._credit < 1:
            return
        self._credit -= 1
        try:
            await self._publishing.publish(wanted.topic, wanted.event, seconds_max)
        except SidecarAway as fault:
            log.warning("%s was not published again: %s", wanted.topic, fault)


def _came(reply: asyncio.Future[Reply | None]) -> Reply | None:
    """The reply, if there is one: it may not be there yet, or never come here, for the gateway is about to stop."""
    return reply.result() if reply.done() else None
