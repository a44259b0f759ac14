"""The live page of a system on a cluster: it runs here, and reaches the pods by port-forwards.

The page has a sidecar of its own on this machine, which only subscribes. Both have the page's own
login at the broker. The page shows one pod of each app.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.edge.settings import GATEWAYS
from sidecart.kubernetes import names, trial
from sidecart.kubernetes.dapr_resources import BROKERS as COMPONENTS
from sidecart.kubernetes.forwards import SIDECAR_PORT, TOKEN, Forwards, secret, workload_of
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.kubernetes.secrets import address_at, password_of
from sidecart.launcher import daprd, monitor, sidecar
from sidecart.launcher.apps import read_apps
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Report
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port, this_or_free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import home, root
from sidecart.launcher.servers.registry import BROKERS, ENVIRONMENT
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.tokens import TOKEN_BYTES, Tokens
from sidecart.launcher.topic_scopes import topic_scopes
from sidecart.launcher.topics import GATEWAY, app_ids
from sidecart.launcher.topology import sidecar_of

START_SECONDS = 60
"""The sidecar connects through a port-forward."""
OUTBOUND_HEALTH, PAGE_HEALTH = "/v1.0/healthz/outbound", "/healthz"
PROCESSES = (monitor.NAME, sidecar_of(monitor.NAME))


class LivePage:
    """The page and its sidecar; a context manager that stops both."""

    def __init__(self, kubectl: Kubectl, overlay: str, forwards: Forwards, report: Report, deadline: Deadline) -> None:
        self._kubectl = kubectl
        self._overlay = OVERLAYS[overlay]
        self._forwards = forwards
        self._report = report
        self._deadline = deadline
        self._folder = TemporaryDirectory(prefix="sidecart-page-")
        self._processes = Processes(home() / "kubernetes" / "logs")
        self._key = secrets.token_urlsafe(TOKEN_BYTES)
        self._tokens = Tokens()
        self._port = this_or_free_port(monitor.PORT)
        self._sidecar = Sidecar(monitor.NAME, free_port(), free_port(), free_port(), None)

    @property
    def url(self) -> str:
        """The address with the key."""
        return monitor.address(f"http://127.0.0.1:{self._port}", self._key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._processes.stop(PROCESSES, monitor.STOP_SECONDS)
        self._folder.cleanup()

    def start(self, gateway_url: str, mail_url: str) -> None:
        """Start both, and wait until the page answers; raise LaunchError if it does not."""
        address = self._broker_address()
        self._start_sidecar(address)
        self._wait(sidecar_of(monitor.NAME), self._sidecar.http_port, OUTBOUND_HEALTH)
        self._processes.start(monitor.NAME, monitor.COMMAND, env=self._page(address, gateway_url, mail_url), cwd=root())
        self._wait(monitor.NAME, self._port, PAGE_HEALTH)

    def _wait(self, name: str, port: int, path: str) -> None:
        def answers() -> bool:
            return not self._processes.is_alive(name) or get(port, path)[0] in (200, 204)

        late = f"{name} does not answer: see {self._processes.log(name)}"
        self._deadline.until(answers, START_SECONDS, lambda: late, 0.2)
        if not self._processes.is_alive(name):
            raise LaunchError(late)

    def _broker_address(self) -> str:
        """Return the address of the broker here, with the login of the page."""
        name = self._overlay.broker
        port = self._forwards.port(f"statefulset/{name}", names.SERVER_PORTS[name])
        return address_at(f"127.0.0.1:{port}", name, monitor.NAME, password_of(name, monitor.NAME))

    def _start_sidecar(self, address: str) -> None:
        config = Path(self._folder.name) / "config.yaml"
        monitor.write_configuration(config)
        program = daprd.find(self._report, self._deadline).path
        folder = root() / COMPONENTS / self._overlay.broker
        words = [*sidecar.command(program, read_apps()[GATEWAY], self._sidecar, [folder], [config])]
        read = {**dict.fromkeys(ENVIRONMENT, ""), **topic_scopes(), **BROKERS[self._overlay.broker].variables(address)}
        env = sidecar.environment(self._tokens.pair(monitor.NAME), read, f"{GATEWAY}-0", sidecar_of(monitor.NAME))
        self._processes.start(sidecar_of(monitor.NAME), [*words, *monitor.SIDECAR_FLAGS], env=env, cwd=root())

    def _page(self, address: str, gateway_url: str, mail_url: str) -> dict[str, str]:
        ports = {monitor.NAME: self._port}
        for app_id in app_ids():
            found = self._forwards.ports(workload_of(app_id), {names.APP_PORT: 0, SIDECAR_PORT: 0})
            ports |= {app_id: found[names.APP_PORT], sidecar_of(app_id): found[SIDECAR_PORT]}
            self._tokens[app_id] = secret(self._kubectl, names.app_token_of(app_id), TOKEN)
            self._tokens[sidecar_of(app_id)] = secret(self._kubectl, names.api_token_of(app_id), TOKEN)
        values: Mapping[str, str] = {
            "BROKER": self._overlay.broker,
            "STORE": self._overlay.store,
            "BROKER_ADDRESS": address,
            "GATEWAY_URL": gateway_url,
            "MAIL_URL": mail_url,
            GATEWAYS: str(GATEWAYS_MAX),
            "PAGE_KEY": self._key,
            "ISSUER_KEYS": str(home() / "kubernetes" / trial.ISSUER_SECRET),
            **trial.issuer_settings(),
        }
        return monitor.environment(ports, app_ids(), self._tokens, self._sidecar.grpc_port, values)
