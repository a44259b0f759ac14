"""Starts the parts of a system, and starts them again after a crash."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from sidecart.issuer import keys
from sidecart.launcher import monitor, proxy, sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.lifecycle.environments import app_environment, trimmer_environment
from sidecart.launcher.lifecycle.live_page import LivePage
from sidecart.launcher.lifecycle.plan import ISSUER, MAIL_CATCHER, MAIL_HTTP, MAIL_SMTP
from sidecart.launcher.lifecycle.sentry_process import SentryProcess
from sidecart.launcher.lifecycle.server_processes import ServerProcesses
from sidecart.launcher.lifecycle.sidecars import Sidecars
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_for_sidecar, app_of, sidecar_of

MAILS = "mails.jsonl"
"""The journal of the mail catcher, in the data folder."""


class Starter:
    """Starts processes without waiting until they are ready."""

    def __init__(
        self,
        state: State,
        servers: ServerProcesses,
        sentry_process: SentryProcess,
        sidecars: Sidecars,
        page: LivePage,
        wiring: Wiring,
        deadline: Deadline,
    ) -> None:
        self._state = state
        self._deadline = deadline
        self._servers = servers
        self._sentry = sentry_process
        self._sidecars = sidecars
        self._page = page
        self._wiring = wiring

    def start_all(self) -> None:
        """Start everything that needs the servers, except the live page and the trimmer.

        On servers that the launcher does not know, the first sidecar creates alone what they lack.
        Several at once would fail on some stores (see `prepare` of servers/postgres.py).
        """
        plan = self._state.plan
        if plan.has_mail_catcher:
            self.start_mail_catcher()
        if plan.has_issuer:
            self.start_issuer()
        for name in plan.replicas:
            self._sidecars.start(name)
            self.start_app(name)
            if plan.broker is None and name == plan.replicas[0]:
                self._sidecars.wait_for_components(name, self._deadline)
        if plan.has_proxy:
            self.start_proxy()

    def start_app(self, name: str) -> None:
        """Start a replica next to its sidecar."""
        app = self._state.plan.apps[app_of(name)]
        env = app_environment(self._state, self._wiring, name)
        self._state.processes.start(name, app.command, env=env, cwd=app.folder)

    def start_mail_catcher(self, *more: str) -> None:
        """Start the mail catcher, with additional arguments if any."""
        words = mail_catcher(self._state.ports, self._state.plan.options.folder / "data")
        self._state.processes.start(MAIL_CATCHER, [*words, *more], env=plain_environment(), cwd=root())

    def start_issuer(self) -> None:
        """Start the local token issuer, which serves the public keys of its key file."""
        plan = self._state.plan
        words = issuer(self._state.ports[ISSUER], plan.issuer_folder)
        self._state.processes.start(ISSUER, words, env=plain_environment(), cwd=root())

    def start_proxy(self) -> None:
        """Start the proxy in front of the gateways."""
        plan, ports = self._state.plan, self._state.ports
        gateways = {name: ports[name] for name in plan.replicas if app_of(name) == GATEWAY}
        words = proxy.command(plan.run_folder, ports[proxy.NAME], gateways)
        self._state.processes.start(proxy.NAME, words, env=plain_environment(), cwd=plan.run_folder)

    def start_trimmer(self) -> None:
        """Start the trimmer of the broker's streams."""
        plan = self._state.plan
        assert plan.broker is not None, "only a broker that the launcher knows has a trimmer"
        words = [sys.executable, "-m", plan.broker.trimmer_module]
        self._state.processes.start(TRIMMER, words, env=trimmer_environment(self._state), cwd=root())

    def start_again(self, name: str) -> None:
        """Restart any ended process of the system with the same arguments."""
        server = self._state.plan.server_of(name)
        if server is not None:
            self._servers.launch(server)
        elif name == sentry.NAME:
            self._sentry.launch()
        elif name == MAIL_CATCHER:
            self.start_mail_catcher()
        elif name == ISSUER:
            self.start_issuer()
        elif name == proxy.NAME:
            self.start_proxy()
        elif name == TRIMMER:
            self.start_trimmer()
        elif name == monitor.NAME:
            self._page.start_app()
        elif name == sidecar_of(monitor.NAME):
            self._page.start_sidecar()
        elif (served := app_for_sidecar(name)) is None:
            self.start_app(name)
        else:
            self._sidecars.start(served)


def mail_catcher(ports: Mapping[str, int], data: Path) -> list[str]:
    """Return the command line of a mail catcher with its journal in a folder, which is created."""
    data.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "sidecart.launcher.servers.mailcatcher", "--journal", str(data / MAILS)]
    return [*words, "--smtp-port", str(ports[MAIL_SMTP]), "--http-port", str(ports[MAIL_HTTP])]


def issuer(port: int, folder: Path) -> list[str]:
    """Return the command line of a token issuer with its keys in a folder, which are created."""
    keys.load(folder)  # once: other processes read the file
    return [sys.executable, "-m", "sidecart.issuer", "--port", str(port), "--keys", str(folder)]
