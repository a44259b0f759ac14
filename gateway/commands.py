"""Carrying a command through: publish, hold, publish once more at half time, and promise when the time is over."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from chassis.errors import SidecarAway, Unreached
from chassis.events import CloudEvent, timestamp
from chassis.serve import now
from chassis.sidecar import HttpSidecar
from gateway.held import Held, Reply
from gateway.ids import command_id
from gateway.problems import Problem, unavailable
from gateway.promises import Command, Promises

log = logging.getLogger(__name__)

REPUBLISH_SHARE = 0.05  # of all publishes: a stopped service must not double the load
REPUBLISH_CREDIT_MAX = 100.0


def command(topic: str, resource: str, location: str, body: dict[str, Any], ids: dict[str, str]) -> Command:
    """Build the command; its id is made of the resource and the body, its data is both."""
    made = command_id(resource, body)
    event = CloudEvent(
        id=made,
        type=topic,
        source="gateway",
        subject=resource,
        correlationid=made,
        time=timestamp(now()),
        data=msgspec.Raw(msgspec.json.encode({**ids, **body})),
    )
    return Command(made, topic, location, msgspec.json.encode(event))


class Commands:
    """Publishes commands and waits for their replies."""

    def __init__(self, sidecar: HttpSidecar, held: Held, promises: Promises) -> None:
        self._sidecar = sidecar
        self._held = held
        self._promises = promises
        self._credit = REPUBLISH_CREDIT_MAX

    async def carry(self, wanted: Command, wait_seconds: float) -> Reply | None:
        """Return the reply, or None when the time is over and the command is promised; raise Problem 503."""
        with self._held.hold(wanted.id) as reply:
            await self._publish_first(wanted)
            if wait_seconds:
                await asyncio.wait((reply,), timeout=wait_seconds / 2)
                if not reply.done():
                    await self._publish_again(wanted)
                    await asyncio.wait((reply,), timeout=wait_seconds / 2)
            if reply.done():
                return reply.result()
            if not self._promises.make(wanted):
                raise Problem(
                    503,
                    "outcome-unknown",
                    "the request may still be carried out; repeat it with the same Idempotency-Key",
                    headers={"Retry-After": "5", "Location": wanted.location},
                )
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
