"""Carrying a command through: publish, hold, publish once more at half time, and promise when the time is over.

A command that starts a flow is in the journal before it is answered (gateway/journal.py).
"""

from __future__ import annotations

import asyncio
import logging

from chassis import handled
from chassis.errors import SidecarAway, Unreached
from chassis.sidecar import HttpSidecar
from gateway.calls import REJECTIONS
from gateway.command import Command
from gateway.flows import KIND_OF_TOPIC
from gateway.held import Held, Reply
from gateway.journal import Journal
from gateway.metrics import HELD_SECONDS, PROMISED
from gateway.problems import Problem, unavailable
from gateway.promises import NotPromised, Promises
from gateway.reconciler import Reconciler

log = logging.getLogger(__name__)

REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 100.0
JOURNAL_SECONDS_MAX = 1.0  # the journal was begun with the request: this is for a store that is slow now


class Commands:
    """Publishes commands and waits for their replies."""

    def __init__(
        self, sidecar: HttpSidecar, held: Held, promises: Promises, journal: Journal, reconciler: Reconciler
    ) -> None:
        self._sidecar = sidecar
        self._held = held
        self._promises = promises
        self._journal = journal
        self._reconciler = reconciler
        self._credit = REPUBLISH_CREDIT_MAX

    async def carry(self, wanted: Command, wait_seconds: float) -> Reply | None:
        """Return the reply, or None when the time is over and the command is promised; raise NotPromised, Problem.

        An accepted command that starts a flow is in the journal by then. NotPromised leaves it there: it may have been
        published.
        """
        kind = KIND_OF_TOPIC.get(wanted.topic)
        if kind is None:
            return await self._hold(wanted, wait_seconds)
        flow, is_new = self._reconciler.begin(kind, wanted.resource)
        try:
            reply = await self._hold(wanted, wait_seconds)
        except Problem:  # nothing was sent, or it was rejected
            if is_new:
                self._journal.end(flow)
            raise
        if reply is not None and reply.topic in REJECTIONS:
            if is_new:
                self._journal.end(flow)
        elif not await self._journal.written(flow, JOURNAL_SECONDS_MAX):
            # The reply is a fact all the same. What is missing is the memory of it, should this process end right now.
            log.warning("%s %s is accepted and not in the journal yet", flow.kind, flow.resource)
        return reply

    async def _hold(self, wanted: Command, wait_seconds: float) -> Reply | None:
        if (about := handled.now()) is not None:
            about.leads_to(wanted.topic, wanted.id)
        with self._held.hold(wanted.id) as reply, HELD_SECONDS[wanted.topic].time():
            await self._publish_first(wanted)
            if wait_seconds:
                await asyncio.wait((reply,), timeout=wait_seconds / 2)
                if not reply.done():
                    await self._publish_again(wanted)
                    await asyncio.wait((reply,), timeout=wait_seconds / 2)
            if came := _came(reply):
                return came
            try:
                promised = await self._promises.make(wanted)
            except NotPromised:
                if came := _came(reply):
                    return came
                raise
            if came := _came(reply):  # while the promise was written
                return came
            if promised.refusal is not None:
                raise promised.refusal.problem()
        PROMISED[wanted.topic].inc()
        return None

    async def _publish_first(self, wanted: Command) -> None:
        self._credit = min(self._credit + REPUBLISH_SHARE, REPUBLISH_CREDIT_MAX)
        try:
            await self._sidecar.publish(wanted.topic, wanted.event)
        except Unreached as fault:
            raise unavailable("nothing was sent: the gateway's sidecar is away") from fault
        except SidecarAway as fault:  # it may have been sent, so the request stays held
            log.warning("%s may not have been published: %s", wanted.topic, fault)

    async def _publish_again(self, wanted: Command) -> None:
        if self._credit < 1:
            return
        self._credit -= 1
        try:
            await self._sidecar.publish(wanted.topic, wanted.event)
        except SidecarAway as fault:
            log.warning("%s was not published again: %s", wanted.topic, fault)


def _came(reply: asyncio.Future[Reply | None]) -> Reply | None:
    """The reply, if there is one: it may not be there yet, or never come here, for the gateway is about to stop."""
    return reply.result() if reply.done() else None
