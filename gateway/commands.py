"""Carrying a command through: publish, hold, publish once more at half time, and promise when the time is over."""

from __future__ import annotations

import asyncio
import logging

from chassis import handled
from chassis.errors import SidecarAway, Unreached
from chassis.sidecar import HttpSidecar
from gateway.command import Command
from gateway.held import Held, Reply
from gateway.metrics import HELD_SECONDS, PROMISED
from gateway.problems import unavailable
from gateway.promises import NotPromised, Promises

log = logging.getLogger(__name__)

REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 100.0


class Commands:
    """Publishes commands and waits for their replies."""

    def __init__(self, sidecar: HttpSidecar, held: Held, promises: Promises) -> None:
        self._sidecar = sidecar
        self._held = held
        self._promises = promises
        self._credit = REPUBLISH_CREDIT_MAX

    async def carry(self, wanted: Command, wait_seconds: float) -> Reply | None:
        """Return the reply, or None when the time is over and the command is promised; raise NotPromised, Problem."""
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
