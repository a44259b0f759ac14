"""Readiness: the gateway can serve when its own event came back, each service said once that it is ready, and the store
takes writes."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from chassis.closing import Closing
from chassis.errors import SidecarAway
from chassis.serve import Probe
from chassis.sidecar import HttpSidecar
from gateway.journal import Journal
from gateway.promises import NOT_READ, Promises
from gateway.publishing import Publishing

log = logging.getLogger(__name__)

SERVICES = ("user", "billing", "order", "notification")
ASK_SECONDS_MAX = 2.0
PAUSE_SECONDS = 0.3


class Readiness:
    """What is still missing before this gateway can serve."""

    def __init__(
        self,
        sidecar: HttpSidecar,
        probe: Probe,
        promises: Promises,
        journal: Journal,
        publishing: Publishing,
        closing: Closing,
    ) -> None:
        self._sidecar = sidecar
        self._closing = closing
        self._promises = promises
        self._journal = journal
        self._publishing = publishing
        self._probe = probe
        self._unseen = set(SERVICES)

    def missing(self, *, without_broker: bool = False) -> list[str]:
        """Say it in words; empty when ready. `without_broker` leaves out what is wrong with all gateways alike."""
        publishing = self._publishing
        shared = without_broker and not publishing.is_sidecars
        probe = [] if self._probe.is_back else [f"{self._probe.topic} did not come back yet"]
        promises = [] if self._promises.resumed else [NOT_READ]
        journal = [] if self._journal.resumed else ["the journal of accepted commands is not read yet"]
        store = [trouble] if (trouble := self._sidecar.store.write_trouble) else []
        stopping = ["this gateway is about to stop"] if self._closing.has_begun else []
        return (
            stopping
            + probe
            + promises
            + journal
            + store
            + ([publishing.problem] if publishing.problem and not shared else [])
            + [f"the {name} service is not ready yet" for name in SERVICES if name in self._unseen]
        )

    async def wait(self) -> None:
        """Send the probe and ask the services until nothing is missing."""
        asking = [self._ask(name) for name in SERVICES]
        await asyncio.gather(self._probe.send_until_back(self._sidecar), *asking)

    async def watch_store(self) -> None:
        """Find out whether the store takes writes, until cancelled."""
        await self._sidecar.watch_store()

    async def _ask(self, name: str) -> None:
        while name in self._unseen:
            with suppress(SidecarAway):  # not up yet: that is what we wait for
                if (await self._sidecar.invoke(name, "/readyz", ASK_SECONDS_MAX)).status == 200:
                    self._unseen.discard(name)
                    return
            await asyncio.sleep(PAUSE_SECONDS)
