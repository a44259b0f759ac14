"""Publishing for requests, and whether the broker takes events.

A broker that blocks publishers, above its memory or disk limit, refuses nothing: a publish does not return.
The sidecar keeps each of them, also after its caller has gone. So the gateway finds out by an event of its own, says so
in /readyz, and sends no further commands until the broker takes events again: held requests are answered 202 and their
pending commands are published later.
"""

from __future__ import annotations

import asyncio
import logging

from chassis.errors import SidecarTimeout, SidecarUnavailable, SidecarUnreachable
from chassis.serve import LoopbackProbe
from chassis.sidecar import CALL_SECONDS_MAX, HttpSidecar

log = logging.getLogger(__name__)

PROBE_SECONDS = 2.0  # without a publish that succeeded; then one event of our own is published
BLOCKED_SECONDS = 2.0  # a publish that takes longer does not return soon; it takes milliseconds
RETRY_SECONDS = 0.5  # between two events of our own while publishing does not work

BROKER = f"the broker blocks publishing: it did not take an event within {BLOCKED_SECONDS:.0f} s"
FAILING = "the broker does not take events"
SIDECAR = "the gateway's sidecar does not answer"


class NotSent(SidecarUnavailable):
    """The event was not sent: publishing is blocked."""


class Publishing:
    """Publishes events, and knows whether that works."""

    def __init__(self, sidecar: HttpSidecar, probe: LoopbackProbe) -> None:
        self._sidecar = sidecar
        self._probe = probe
        self._taken_at = float("-inf")
        self._is_blocked = False
        self.problem = ""
        """What does not work, in words; empty when publishing works."""

    @property
    def is_sidecar_problem(self) -> bool:
        """Whether the problem is this gateway's own sidecar, and not the broker that all gateways share."""
        return self.problem == SIDECAR

    async def publish(self, topic: str, event: bytes, seconds_max: float = CALL_SECONDS_MAX) -> None:
        """Publish one event; raise SidecarUnavailable, or NotSent at once while publishing is blocked."""
        if self._is_blocked:
            raise NotSent(self.problem)
        await self._sidecar.publish(topic, event, seconds_max)
        self._taken_at = asyncio.get_running_loop().time()

    async def watch(self) -> None:
        """Publish an event of our own whenever no other was taken for a while, until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            seconds = self._taken_at + PROBE_SECONDS - now()
            if self.problem or seconds <= 0:
                await self._try()
                seconds = RETRY_SECONDS if self.problem else PROBE_SECONDS
            await asyncio.sleep(seconds)

    async def _try(self) -> None:
        """Publish one event of our own; while it does not return, publishing is blocked."""
        trying = asyncio.ensure_future(self._sidecar.publish(self._probe.topic, self._probe.event()))
        try:
            await asyncio.wait((trying,), timeout=BLOCKED_SECONDS)
            if not trying.done():
                await self._block()
            await trying
        except SidecarTimeout:  # after CALL_SECONDS_MAX: it is still blocked
            await self._block()
        except SidecarUnreachable:
            self._set_problem(SIDECAR, is_blocked=False)
        except SidecarUnavailable:
            self._set_problem(FAILING, is_blocked=False)
        else:
            self._taken_at = asyncio.get_running_loop().time()
            self._set_problem("", is_blocked=False)
        finally:
            trying.cancel()

    async def _block(self) -> None:
        self._set_problem(self.problem or BROKER, is_blocked=True)  # before the question below, which takes a second
        self._set_problem(BROKER if await self._sidecar.answers() else SIDECAR, is_blocked=True)

    def _set_problem(self, problem: str, *, is_blocked: bool) -> None:
        if problem != self.problem:
            if problem:
                log.warning("publishing does not work: %s", problem)
            else:
                log.info("publishing works again")
        self.problem, self._is_blocked = problem, is_blocked
