"""Readiness of the gateway.

The gateway is ready when its probe event has returned, each service was ready once, and the store
accepts writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.journal import Journal
from sidecart.edge.key_secrets import NOT_LOADED, KeySecrets
from sidecart.edge.pending_commands import NOT_RELOADED, PendingCommands
from sidecart.edge.publish_watch import PublishWatch

log = logging.getLogger(__name__)

ASK_SECONDS_MAX = 2.0
PAUSE_SECONDS = 0.3


class Readiness:
    """The conditions that must hold before this gateway can serve."""

    def __init__(
        self,
        sidecar: Sidecar,
        probe: LoopbackProbe,
        pending_commands: PendingCommands,
        journal: Journal,
        publish_watch: PublishWatch,
        secrets: KeySecrets,
        issuer_keys: IssuerKeys | None,
        shutdown: ShutdownSignal,
        services: Sequence[str],
    ) -> None:
        self._sidecar = sidecar
        self._shutdown = shutdown
        self._pending_commands = pending_commands
        self._journal = journal
        self._publish_watch = publish_watch
        self._secrets = secrets
        self._issuer_keys = issuer_keys
        self._probe = probe
        self._services = services
        self._not_ready = set(services)

    def missing(self, *, without_broker: bool = False) -> list[str]:
        """Return the reasons why the gateway is not ready; empty when it is ready.

        `without_broker` leaves out problems that all gateways share.
        """
        publishing = self._publish_watch
        shared = without_broker and not publishing.is_sidecar_problem
        probe = [] if self._probe.has_returned else [f"{self._probe.topic} did not come back yet"]
        pending_commands = [] if self._pending_commands.resumed else [NOT_RELOADED]
        journal = [] if self._journal.resumed else ["the journal of accepted commands has not been reloaded yet"]
        secret = [] if self._secrets.are_loaded else [NOT_LOADED]
        keys = [] if self.is_open or self._issuer_keys_are_known else ["the keys of the token issuer are not known yet"]
        store = [problem] if (problem := self._sidecar.store.write_problem) else []
        stopping = ["this gateway is shutting down"] if self._shutdown.is_set else []
        return (
            stopping
            + probe
            + pending_commands
            + journal
            + secret
            + keys
            + store
            + ([publishing.problem] if publishing.problem and not shared else [])
            + [f"the {name} service is not ready yet" for name in self._services if name in self._not_ready]
        )

    @property
    def is_open(self) -> bool:
        """Whether the gateway trusts each body instead of tokens (AUTH=off)."""
        return self._issuer_keys is None

    @property
    def _issuer_keys_are_known(self) -> bool:
        return self._issuer_keys is not None and self._issuer_keys.are_known

    async def wait(self) -> None:
        """Publish the probe event and ask each service, until all of them have answered."""
        asking = [self._ask(name) for name in self._services]
        await asyncio.gather(self._probe.send_until_returned(self._sidecar), *asking)

    async def watch_store(self) -> None:
        """Watch whether the store accepts writes, until cancelled."""
        await self._sidecar.store_probe.watch()

    async def _ask(self, name: str) -> None:
        while name in self._not_ready:
            with suppress(SidecarUnavailable):  # the service is still starting
                if (await self._sidecar.invoke(name, "/readyz", ASK_SECONDS_MAX)).status == 200:
                    self._not_ready.discard(name)
                    return
            await asyncio.sleep(PAUSE_SECONDS)
