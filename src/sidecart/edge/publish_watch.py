"""Detects a broker that blocks publishing.

A broker above its memory or disk limit does not refuse a publish: the call does not return. The
sidecar keeps each such call, even after its caller is gone. The gateway therefore publishes a probe
event of its own. While that event does not return, the gateway reports it in /readyz and sends no
more commands. Held requests are answered 202, and their pending commands are published later.
"""

from __future__ import annotations

import asyncio
import logging

from sidecart.chassis.errors import SidecarTimeout, SidecarUnavailable, SidecarUnreachable
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.sidecar import Sidecar

log = logging.getLogger(__name__)

PROBE_SECONDS = 2.0  # without a successful publish; then the gateway publishes a probe event
BLOCKED_SECONDS = 2.0  # a publish takes milliseconds; one that takes this long is blocked
RETRY_SECONDS = 0.5  # between two probe events while publishing fails

BROKER = f"the broker blocks publishing: it did not accept an event within {BLOCKED_SECONDS:.0f} s"
FAILING = "the broker does not accept events"
SIDECAR = "the gateway's sidecar does not answer"


class PublishWatch:
    """Tracks whether publishing works; while it is blocked, the sidecar's client sends no event."""

    def __init__(self, sidecar: Sidecar, probe: LoopbackProbe) -> None:
        self._sidecar = sidecar
        self._probe = probe
        self.problem = ""
        """The reason why publishing fails; empty while it works."""

    @property
    def is_sidecar_problem(self) -> bool:
        """True if the gateway's own sidecar fails, and not the broker that all gateways share."""
        return self.problem == SIDECAR

    async def run(self) -> None:
        """Publish a probe event after PROBE_SECONDS without a successful publish.

        Run until cancelled.
        """
        now = asyncio.get_running_loop().time
        while True:
            seconds = self._sidecar.published_at + PROBE_SECONDS - now()
            if self.problem or seconds <= 0:
                await self._publish_probe()
                seconds = RETRY_SECONDS if self.problem else PROBE_SECONDS
            await asyncio.sleep(seconds)

    async def _publish_probe(self) -> None:
        """Publish one probe event; until it returns, publishing is blocked."""
        publishing = asyncio.ensure_future(self._sidecar.try_publish(self._probe.topic, self._probe.event()))
        try:
            await asyncio.wait((publishing,), timeout=BLOCKED_SECONDS)
            if not publishing.done():
                await self._block()
            await publishing
        except SidecarTimeout:  # after CALL_SECONDS_MAX: still blocked
            await self._block()
        except SidecarUnreachable:
            self._set_problem(SIDECAR, is_blocked=False)
        except SidecarUnavailable:
            self._set_problem(FAILING, is_blocked=False)
        else:
            self._set_problem("", is_blocked=False)
        finally:
            publishing.cancel()

    async def _block(self) -> None:
        # Block at once, because the call to the sidecar may take a second.
        self._set_problem(self.problem or BROKER, is_blocked=True)
        self._set_problem(BROKER if await self._sidecar.answers() else SIDECAR, is_blocked=True)

    def _set_problem(self, problem: str, *, is_blocked: bool) -> None:
        if problem != self.problem:
            if problem:
                log.warning("publishing fails: %s", problem)
            else:
                log.info("publishing works again")
        self.problem, self._sidecar.publish_block = problem, problem if is_blocked else ""
