"""The plan of a start: apps, replicas, servers, folders and tokens, computed beforehand."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecart.launcher import components, monitor, proxy, runfile, sentry
from sidecart.launcher.apps import App, apps_with, resource_folders, with_components
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.ports import free_port, is_free, this_or_free_port
from sidecart.launcher.project import declared_text
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.server import Broker, Server
from sidecart.launcher.tokens import TOKEN_BYTES, Tokens
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, metrics_of, replica_names

MAIL_CATCHER = "mail"
MAIL_SMTP, MAIL_HTTP = "mail-smtp", "mail-http"
ISSUER = "issuer"
"""The process with the keys of the local token issuer."""
MAIL_SERVER = "mail_server"
"""The entry of `[tool.sidecart]` in pyproject.toml that names the setting of the mail server.

A project without it needs no mail server, so the launcher starts no mail catcher.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of a system that are known before its start."""

    options: Options
    apps: Mapping[str, App]
    replicas: tuple[str, ...]
    """The names of the apps' processes; several replicas of an app have numbers."""
    broker: Broker | None
    """None if a folder of components names the servers."""
    servers: Mapping[str, Server]
    """The broker and the store by address variable; one entry if both are the same server."""
    component_env: Mapping[str, str]
    """The variables that the components of the options' folder read."""
    mail_setting: str
    """The setting by which the project's apps find a mail server; empty if they need none."""
    tokens: Tokens
    page_key: str
    """The key of the live page."""

    @property
    def logs(self) -> Path:
        """The folder of the logs."""
        return self.options.folder / "logs"

    @property
    def data(self) -> Path:
        """The folder of the servers' data; unused if the servers run already."""
        return self.options.folder / "data" / f"{self.options.broker}-{self.options.store}"

    @property
    def run_folder(self) -> Path:
        """The folder of the files that belong to one run."""
        return self.options.folder / "run"

    @property
    def has_proxy(self) -> bool:
        """Whether several gateways share one address."""
        return self.options.gateways > 1

    @property
    def is_addressed(self) -> bool:
        """Whether each gateway reads its own replies only: several run (ADR 69)."""
        return self.options.gateways > 1

    @property
    def entrance(self) -> str:
        """The process at the address that callers use."""
        return proxy.NAME if self.has_proxy else GATEWAY

    @property
    def has_mail_catcher(self) -> bool:
        """Whether mails go to the launcher's own mail server."""
        return self.mail_setting != "" and not self.options.settings.get(self.mail_setting)

    @property
    def configured(self) -> dict[str, str]:
        """The settings of the apps that the launcher does not decide."""
        return {**self.options.settings, **self.options.env}

    @property
    def auth(self) -> str:
        """Who issues the tokens of the callers (launcher/runfile.py)."""
        if self.configured.get("AUTH") == "off":
            return runfile.OFF
        return runfile.EXTERNAL if self.configured.get("OIDC_ISSUER") else runfile.LOCAL

    @property
    def has_issuer(self) -> bool:
        """Whether to start the local token issuer."""
        return self.auth == runfile.LOCAL

    @property
    def issuer_folder(self) -> Path:
        """The folder of the local issuer's keys."""
        return issuer_folder(self.options.folder)

    @property
    def has_monitor(self) -> bool:
        """Whether to start the live page, which needs a broker that the launcher knows."""
        return self.options.monitor and self.broker is not None

    @property
    def has_trimmer(self) -> bool:
        """Whether to trim the streams of the broker, which the launcher must know."""
        return self.broker is not None and self.broker.trimmer_module != ""

    def server_of(self, name: str) -> Server | None:
        """Return the server that owns a process, or None."""
        return next((each for each in self.servers.values() if name in each.names), None)

    def resources(self, app: App) -> tuple[Path, ...]:
        """Return the resource folders of an app's sidecar."""
        if self.options.resources is not None:
            return self.options.resources
        if self.options.components is not None:
            return with_components(app.resources, self.options.components)
        return resource_folders(app.resources, self.options.broker, self.options.store)


def issuer_folder(folder: Path) -> Path:
    """Return the folder of the local issuer's keys, in the folder of a system."""
    return folder / "issuer"


def plan_of(options: Options) -> Plan:
    """Compute what these options start.

    Raises LaunchError for an unknown broker, store, app or service, and for an unusable
    replacement, folder of components, or number of replicas.
    """
    broker, servers = _servers(options) if options.components is None else (None, {})
    replicas = tuple(replica_names(options.gateways, options.replicas, options.without))
    return Plan(
        options=options,
        apps=apps_with(options.replaced),
        replicas=replicas,
        broker=broker,
        servers=servers,
        component_env=_component_env(options, replicas),
        mail_setting=declared_text(MAIL_SERVER),
        tokens=Tokens(),
        page_key=secrets.token_urlsafe(TOKEN_BYTES),
    )


def _servers(options: Options) -> tuple[Broker, dict[str, Server]]:
    for kind, name, known in (("broker", options.broker, list(BROKERS)), ("store", options.store, list(STORES))):
        if name not in known:
            raise LaunchError(f"there is no {kind} {name}: choose from {', '.join(known)}")
    broker, store = BROKERS[options.broker], STORES[options.store]
    return broker, {broker.env: broker, store.env: store}


def _component_env(options: Options, replicas: Iterable[str]) -> dict[str, str]:
    """Check the folder of components, and return the variables that they read."""
    if options.components is None:
        return {}
    found = components.read_components(options.components)
    uses = components.uses_of(map(app_of, replicas), (each.name for each in found))
    components.check(options.components, found, uses)
    return components.variables_of(found, options.settings)


def choose_ports(plan: Plan) -> dict[str, int]:
    """Choose the ports of all processes that are no servers and no sidecars.

    Raises LaunchError if the port of the options is in use.
    """
    port = plan.options.port
    if port is not None and not is_free(port):
        raise LaunchError(
            f"port {port} is in use: stop the process that uses it, or choose another port (make run PORT=8080)"
        )
    ports = {plan.entrance: port or free_port()}
    mail = (MAIL_SMTP, MAIL_HTTP) if plan.has_mail_catcher else ()
    issuer = (ISSUER,) if plan.has_issuer else ()
    trimmer = (metrics_of(TRIMMER),) if plan.has_trimmer else ()
    for name in (*plan.replicas, *map(metrics_of, plan.replicas), *mail, *issuer, *trimmer, sentry.NAME):
        ports.setdefault(name, free_port())
    if plan.has_mail_catcher:
        ports[MAIL_CATCHER] = ports[MAIL_HTTP]
    if plan.has_monitor:
        has_usual_port = port not in (None, monitor.PORT)
        ports[monitor.NAME] = this_or_free_port(monitor.PORT) if has_usual_port else free_port()
    return ports
