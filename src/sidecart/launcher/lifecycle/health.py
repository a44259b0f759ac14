"""The questions of the supervisor about a running system."""

from __future__ import annotations

from sidecart.launcher.lifecycle.consumers import Consumers
from sidecart.launcher.lifecycle.readiness import Readiness
from sidecart.launcher.lifecycle.sentry_process import SentryProcess
from sidecart.launcher.lifecycle.server_processes import ServerProcesses
from sidecart.launcher.lifecycle.sidecars import Sidecars
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import app_of, readers, sidecar_of


class Health:
    """The health of the servers, of sentry, the sidecars and the subscriptions of one system."""

    def __init__(
        self,
        state: State,
        servers: ServerProcesses,
        sentry_process: SentryProcess,
        sidecars: Sidecars,
        consumers: Consumers,
        readiness: Readiness,
    ) -> None:
        self._state = state
        self._servers = servers
        self._sentry = sentry_process
        self._sidecars = sidecars
        self._consumers = consumers
        self._readiness = readiness

    def problem_of_servers(self) -> str | None:
        """Return why a sidecar would fail if it started now, or None."""
        return self._servers.problem() or self._sentry.problem()

    def warnings_of_servers(self) -> list[str]:
        """Return what will soon keep a server from taking writes."""
        return self._servers.warnings()

    def unread_subscriptions(self) -> list[Subscription]:
        """Return the subscriptions of healthy replicas that have the wrong number of readers.

        Raises OSError if the broker is unreachable.
        """
        plan = self._state.plan
        healthy = [name for name in plan.replicas if self._readiness.problem(name, "/healthz") is None]
        whole = [
            name for name in healthy if all(app_of(each) != app_of(name) or each in healthy for each in plan.replicas)
        ]
        return self._consumers.unread(readers(whole, addressed=plan.is_addressed))

    def unresponsive_sidecars(self) -> list[str]:
        """Return the replicas whose sidecar runs but does not answer, such as a paused one."""
        running = self._state.processes.pids()
        return [
            name
            for name in self._state.plan.replicas
            if sidecar_of(name) in running and not self._sidecars.answers(name)
        ]
