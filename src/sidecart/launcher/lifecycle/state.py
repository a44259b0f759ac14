"""The state of a run: the processes of a system, with their ports and addresses."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from sidecart.launcher import monitor
from sidecart.launcher.identities import Identities
from sidecart.launcher.lifecycle.options import EXTERNAL
from sidecart.launcher.lifecycle.plan import MAIL_HTTP, Plan
from sidecart.launcher.processes import Processes
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.servers.addresses import without_password
from sidecart.launcher.servers.registry import STORES
from sidecart.launcher.sidecar import Sidecar


class State:
    """The processes of one system, and where they are reachable."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.processes = Processes(plan.logs)
        self.identities = Identities(plan.run_folder / "identities")
        self.ports: dict[str, int] = {}
        """Maps each process to its port, and a sidecar to that of its HTTP API."""
        self.addresses: dict[str, str] = {}
        """Maps each server's address variable to its address with the administrator's login.

        An external server has the login that the environment names.
        """
        self.sidecars: dict[str, Sidecar] = {}
        """Maps an app's replica to its sidecar, of which the ports survive a restart."""
        self.resources: dict[str, tuple[Path, ...]] = {}
        """Maps a sidecar to the resource folders of its last start."""

    @property
    def url(self) -> str:
        """The gateway's address."""
        return self.local_url(self.plan.entrance)

    @property
    def mail_url(self) -> str:
        """The mail catcher's address; empty if mails go to an external server."""
        return self.local_url(MAIL_HTTP) if self.plan.has_mail_catcher else ""

    @property
    def mails_at(self) -> str:
        """The address where the mails are: the mail catcher, or the external mail server.

        It is empty if the project needs no mail server.
        """
        external = self.plan.options.settings.get(self.plan.mail_setting, "")
        return self.mail_url or (without_password(external) if external else "")

    @property
    def monitor_url(self) -> str:
        """The live page's address with its key; empty without a live page."""
        return monitor.address(self.local_url(monitor.NAME), self.plan.page_key) if self.plan.has_monitor else ""

    @property
    def broker_address(self) -> str:
        """The broker's address; empty before the broker runs."""
        return "" if self.plan.broker is None else self.addresses.get(self.plan.broker.env, "")

    @property
    def store_address(self) -> str:
        """The address of the store."""
        return self.addresses[STORES[self.plan.options.store].env]

    def addresses_as(self, login: str) -> dict[str, str]:
        """Map the address variable of each server to its address with a login.

        Raises LaunchError for an unknown login.
        """
        return {env: self.address_as(env, login) for env in self.addresses}

    def address_as(self, env: str, login: str) -> str:
        """Return the address of the server with this address variable, with a login.

        An external server has one login for all, unless the options say that each app has its own.
        Raises LaunchError for an unknown login.
        """
        plan, options = self.plan, self.plan.options
        is_external = bool(options.external.get(env))
        if is_external and not options.app_logins:
            return self.addresses[env]
        data = options.folder / EXTERNAL if is_external else plan.data
        return plan.servers[env].address_of(login, self.addresses[env], data)

    def local_url(self, name: str) -> str:
        """The URL of a process on this machine."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def starting(self) -> RunFile:
        """Return the description of a system that is about to start."""
        options = self.plan.options
        if options.components is not None:
            return RunFile(os.getpid(), "", "", components=str(options.components))
        return RunFile(os.getpid(), options.broker, options.store)

    def described(self) -> RunFile:
        """Return the description of a ready system that the other commands read."""
        return replace(
            self.starting(),
            ready=True,
            url=self.url,
            mail_url=self.mails_at,
            monitor_url=self.monitor_url,
            auth=self.plan.auth,
            processes=self.processes.pids(),
            ports=self.ports,
            tokens=dict(self.plan.tokens),
            addresses=dict(self.addresses),
            resources={name: list(map(str, folders)) for name, folders in self.resources.items()},
        )
