"""The wiring of one gateway process: creates its components and connects them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

from sidecart.chassis.audit_trail import AuditTrail
from sidecart.chassis.events import now
from sidecart.chassis.server.inbound import Handler, InboundApp
from sidecart.chassis.server.loopback_probe import LoopbackProbe
from sidecart.chassis.server.serve import background
from sidecart.chassis.server.shutdown import ShutdownSignal
from sidecart.chassis.sidecar import Sidecar
from sidecart.edge.callers import Callers
from sidecart.edge.commands_api import CommandsApi, Responses
from sidecart.edge.declarations import Application
from sidecart.edge.erasures_api import ErasuresApi, Forgetting
from sidecart.edge.exports_api import ExportsApi
from sidecart.edge.flows import Flows
from sidecart.edge.held_requests import CommandDispatcher, HeldRequests
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.journal import Journal
from sidecart.edge.journal_recovery import adopt_from_other_replicas
from sidecart.edge.key_secrets import KeySecrets
from sidecart.edge.known_resources import KnownResources
from sidecart.edge.metrics import HELD, PENDING_COMMANDS, STUCK, UNFINISHED, declare
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.pending_worker import PendingWorker, republisher
from sidecart.edge.publish_watch import PublishWatch
from sidecart.edge.queries_api import QueriesApi
from sidecart.edge.rate_limits import CallerLimits
from sidecart.edge.ready import Readiness
from sidecart.edge.reconciler import Reconciler
from sidecart.edge.replicas import Replicas
from sidecart.edge.replies import Replies
from sidecart.edge.settings import Settings
from sidecart.edge.token_verifier import TokenVerifier

# From the shutdown signal to the release of held requests. Together with the write of the pending
# commands, this is well below the time that the server allows.
HURRY_SECONDS = 3


@dataclass(frozen=True, slots=True)
class Wiring:
    """The handlers of the routes, and the background tasks."""

    commands_api: CommandsApi
    queries_api: QueriesApi
    erasures_api: ErasuresApi
    exports_api: ExportsApi
    readiness: Readiness
    topics_of_replies: Mapping[str, Handler]
    probe: LoopbackProbe
    held: HeldRequests
    pending_commands: PendingCommands
    pending_worker: PendingWorker
    journal: Journal
    reconciler: Reconciler
    publish_watch: PublishWatch
    secrets: KeySecrets
    issuer_keys: IssuerKeys | None
    """None: the gateway trusts each body (AUTH=off)."""
    shutdown: ShutdownSignal
    replicas: Replicas

    @classmethod
    def of(
        cls,
        application: Application,
        sidecar: Sidecar,
        probe: LoopbackProbe,
        shutdown: ShutdownSignal,
        own: Settings,
    ) -> Wiring:
        """Create all components of an application's gateway for a sidecar."""
        publish, replicas = republisher(sidecar, own.reply_to), Replicas(sidecar, own.pod_name, now)
        held, pending_commands = HeldRequests(), PendingCommands(sidecar, own.pod_name, now)
        publish_watch, responses, flows = PublishWatch(sidecar, probe), Responses(application), Flows(application)
        known, secrets = KnownResources(sidecar, pending_commands), KeySecrets(sidecar, now)
        keys, callers = _callers(own)
        journal, forgetting = Journal(sidecar, own.pod_name, now), Forgetting(pending_commands, known, callers)
        reconciler = Reconciler(sidecar, journal, pending_commands, flows, now, publish)
        dispatcher = CommandDispatcher(sidecar, held, pending_commands, journal, application.rejections, own.reply_to)
        replies = Replies(application, responses, held, pending_commands, known, forgetting)
        _observe(application, flows, held, pending_commands, journal, reconciler)
        return cls(
            commands_api=CommandsApi(application, dispatcher, responses, known, sidecar.store, secrets, callers),
            queries_api=QueriesApi(sidecar, pending_commands, reconciler, flows, application.command_paths, callers),
            erasures_api=ErasuresApi(sidecar, dispatcher, responses, known, callers, AuditTrail(sidecar, now)),
            exports_api=ExportsApi(sidecar, callers),
            readiness=Readiness(
                sidecar, probe, pending_commands, journal, publish_watch, secrets, keys, shutdown, application.services
            ),
            topics_of_replies=replies.handlers(own.reply_to),
            probe=probe,
            held=held,
            pending_commands=pending_commands,
            pending_worker=PendingWorker(pending_commands, publish, replicas),
            journal=journal,
            reconciler=reconciler,
            publish_watch=publish_watch,
            secrets=secrets,
            issuer_keys=keys,
            shutdown=shutdown,
            replicas=replicas,
        )

    def attach(self, app: InboundApp) -> None:
        """Let an app handle its requests with these components."""
        app.state.wiring = self
        for command in self.commands_api.application.commands:
            app.answer_directly(command.path, partial(self.commands_api.handle, command))

    def topics(self) -> Mapping[str, Handler]:
        """Return the topics that the gateway subscribes to, each with its handler."""
        return {**self.topics_of_replies, self.probe.topic: self.probe.handle}

    @asynccontextmanager
    async def run_background_tasks(self, drain_seconds: float) -> AsyncIterator[None]:
        """Run the background tasks while the context is open."""
        async with (
            background(self.secrets.keep_current()),
            nullcontext() if self.issuer_keys is None else background(self.issuer_keys.keep_current()),
            background(self.readiness.watch_store()),
            background(self.readiness.wait()),
            background(self.publish_watch.run()),
            background(self.replicas.keep_alive()),
            background(self.pending_worker.work()),
            background(self.pending_worker.adopt_from_other_replicas()),
            background(self.journal.write()),
            background(self.reconciler.work()),
            background(adopt_from_other_replicas(self.journal, self.replicas)),
            background(self._release(max(HURRY_SECONDS, drain_seconds))),
        ):
            yield

    async def _release(self, seconds: float) -> None:
        """Release held requests after the shutdown signal; each is answered 202 as pending."""
        await self.shutdown.wait()
        await asyncio.sleep(seconds)
        self.held.release()


def _callers(own: Settings) -> tuple[IssuerKeys, Callers] | tuple[None, None]:
    """Return the issuer's keys and the callers with their limits; nothing with AUTH=off."""
    if own.auth is None:
        return None, None
    keys = IssuerKeys(own.auth.issuer, own.auth.jwks_url)
    callers = Callers(TokenVerifier(own.auth, keys), CallerLimits(own.requests_per_caller, own.held_per_caller))
    keys.changed = callers.forget
    return keys, callers


def _observe(
    application: Application,
    flows: Flows,
    held: HeldRequests,
    pending_commands: PendingCommands,
    journal: Journal,
    reconciler: Reconciler,
) -> None:
    """Declare the metrics, and let the gauges read their values from the components."""
    declare((command.topic for command in application.all_commands), flows.by_name)
    HELD.set_function(lambda: held.count)
    PENDING_COMMANDS.set_function(lambda: pending_commands.count)
    UNFINISHED.set_function(lambda: journal.count)
    STUCK.set_function(lambda: len(reconciler.stuck()))
