"""One running system: a context manager that starts it, waits until it is ready, and stops it."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.checks import check
from sidecart.launcher.lifecycle.consumers import consumers_of
from sidecart.launcher.lifecycle.health import Health
from sidecart.launcher.lifecycle.live_page import LivePage
from sidecart.launcher.lifecycle.options import Options, Report
from sidecart.launcher.lifecycle.plan import choose_ports, plan_of
from sidecart.launcher.lifecycle.readiness import READY_SECONDS, Readiness
from sidecart.launcher.lifecycle.sentry_process import SentryProcess
from sidecart.launcher.lifecycle.server_processes import ServerProcesses
from sidecart.launcher.lifecycle.sidecars import Sidecars
from sidecart.launcher.lifecycle.start import Starter
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.stop import APP_SECONDS, stop_all
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import monitor_subscriptions
from sidecart.launcher.topology import surplus_subscriptions

__all__ = ["Options", "Report", "System"]


class System:
    """The servers, sidecars and apps of a project, and the parts of the launcher that run them.

    Use it from the main thread: the processes die with the thread that started them.
    """

    def __init__(
        self, options: Options, report: Report, deadline: Deadline | None = None, wiring: Wiring | None = None
    ) -> None:
        self.options = options
        self.report = report
        self.deadline = deadline or Deadline()
        self.plan = plan_of(options)
        self.state = State(self.plan)
        self._wiring = wiring or Wiring()
        self._servers = ServerProcesses(self.state, report, self.deadline)
        self._sentry = SentryProcess(self.state)
        self._consumers = consumers_of(self.state)
        self.readiness = Readiness(self.state, self._consumers, self.deadline, report)
        self.sidecars = Sidecars(self.state, self._wiring)
        self.page = LivePage(self.state, self.sidecars, self._consumers, report, self.deadline)
        self.starter = Starter(
            self.state, self._servers, self._sentry, self.sidecars, self.page, self._wiring, self.deadline
        )
        self.health = Health(self.state, self._servers, self._sentry, self.sidecars, self._consumers, self.readiness)
        self.servers, self.tokens = self.plan.servers, self.plan.tokens
        self.replicas, self.logs, self.data = self.plan.replicas, self.plan.logs, self.plan.data
        self.is_addressed = self.plan.is_addressed
        self.ports = self.state.ports
        self.seconds_to_ready = 0.0
        self._is_started = False

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.state.url

    @property
    def mail_url(self) -> str:
        """The mail catcher's address; empty if mails go to an external server."""
        return self.state.mail_url

    @property
    def issuer_folder(self) -> Path:
        """The folder of the keys of the local token issuer."""
        return self.plan.issuer_folder

    @property
    def monitor_url(self) -> str:
        """The live page's address with its key; empty without a live page."""
        return self.state.monitor_url

    @property
    def broker(self) -> Broker:
        """The launcher's interface to the broker, which a folder of components does not have."""
        assert self.plan.broker is not None, "the launcher does not know the broker of these components"
        return self.plan.broker

    @property
    def broker_address(self) -> str:
        """The broker's address."""
        return self.state.broker_address

    @property
    def store_address(self) -> str:
        """The address of the store."""
        return self.state.store_address

    @property
    def processes(self) -> dict[str, int]:
        """Maps each process to its pid. A sidecar's name is its replica's name with -sidecar."""
        return self.state.processes.pids()

    @property
    def dead(self) -> dict[str, int]:
        """Maps each process that ended unexpectedly to its exit code."""
        return self.state.processes.dead()

    @property
    def started(self) -> bool:
        """Whether any process was started."""
        return bool(self.state.processes.logged)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything and wait until the system is ready.

        A second call does nothing, so `with` may follow.
        """
        if self._is_started:
            return
        self._is_started = True
        keep_private(self.options.folder)
        self.ports |= choose_ports(self.plan)
        check(self.state, self._wiring)
        self.sidecars.prepare(self.report, self.deadline)
        self._sentry.prepare(self.report, self.deadline)
        self._servers.start()
        self._sentry.start(self.deadline)
        gone = [*surplus_subscriptions(self.options.gateways), *monitor_subscriptions()]
        self._consumers.remove(gone)
        self.report(f"starting {len(self.replicas)} apps and their sidecars")
        self.starter.start_all()
        started = time.monotonic()
        self.readiness.wait_for_all()
        self.seconds_to_ready = time.monotonic() - started
        self.report(f"ready in {self.seconds_to_ready:.1f} s")
        if self.plan.has_trimmer:  # only now each expected group exists
            self.starter.start_trimmer()
        if self.plan.has_monitor:
            self.page.start()

    def stop(self) -> None:
        """Stop all processes."""
        stop_all(self.state, self.report)

    def start_app(self, name: str) -> None:
        """Start a replica next to its sidecar; do not wait for it."""
        self.starter.start_app(name)

    def stop_app(self, name: str) -> None:
        """Stop a replica; its sidecar keeps running."""
        self.state.processes.stop([name], APP_SECONDS)

    def kill(self, name: str) -> None:
        """Kill a process at once, as a crash would."""
        self.state.processes.kill(name)

    def is_ready(self, name: str) -> bool:
        """Whether a replica reports itself ready."""
        return self.readiness.is_ready(name)

    def wait_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a restarted replica reports itself ready."""
        self.readiness.wait(name, seconds)
