"""Starts and stops the sidecars of one system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sidecart.launcher import access_control, monitor, sentry, sidecar
from sidecart.launcher import daprd as program
from sidecart.launcher.apps import read_apps
from sidecart.launcher.consistency import application_of
from sidecart.launcher.daprd import Daprd
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import traced_environment
from sidecart.launcher.identities import mtls_flags
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.topic_scopes import topic_scopes
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, pod_name_of, sidecar_of

ANSWER_SECONDS_MAX = 2.0  # a healthy sidecar answers within milliseconds
COMPONENTS_SECONDS = 60  # a component may retry its connection for a while
OUTBOUND_HEALTH = "/v1.0/healthz/outbound"
"""Healthy as soon as the components are loaded; `/v1.0/healthz` waits for the app, too."""
STOP_SECONDS = sidecar.SHUTDOWN_SECONDS + 10


class Sidecars:
    """The sidecars of one system. Their ports stay the same over restarts."""

    def __init__(self, state: State, wiring: Wiring) -> None:
        self._state = state
        self._wiring = wiring
        self._program = Path()
        self._configs: tuple[Path, ...] = ()

    def prepare(self, report: Report, deadline: Deadline) -> None:
        """Find or obtain daprd, and write the files that the sidecars share."""
        found = program.find(report, deadline)
        self._program = found.path
        self._configs = (name_resolution(self._state.plan.run_folder, found, report),)
        self._access.write_text(access_control.file_text(application_of(read_apps())), encoding="utf-8")

    def start(self, name: str) -> None:
        """Start the sidecar of a replica."""
        port = self._wiring.port(name, self._state.ports[name])
        self.start_for(name, port, pod_name=pod_name_of(name))

    def start_for(
        self,
        app_id: str,
        app_port: int | None,
        *,
        resources: Iterable[Path] | None = None,
        config: Path | None = None,
        pod_name: str = f"{GATEWAY}-0",
        env: Mapping[str, str] | None = None,
        login: str = "",
    ) -> Sidecar:
        """Start a sidecar for an app of the system or for an outside consumer such as a tap.

        An outside consumer has the Configuration of the gateway, or `config` on top of it. It gets
        an identity of its own. `login` is its login at the servers, by default the one of its
        app-id.
        """
        state, plan = self._state, self._state.plan
        app = plan.apps.get(app_of(app_id), plan.apps[GATEWAY])
        known = state.sidecars.get(app_id)
        if known is None or known.app_port != app_port:
            known = Sidecar(app_of(app_id), free_port(), free_port(), free_port(), app_port)
            state.sidecars[app_id] = known
        name = sidecar_of(app_id)
        state.ports[name] = known.http_port
        folders = state.resources[name] = plan.resources(app) if resources is None else tuple(resources)
        tracing = (root() / sidecar.TRACING,) if traced_environment() else ()
        own = () if config is None else (config,)
        configs = (app.config, self._access, *own, *tracing, *self._configs)
        words = sidecar.command(self._program, app, known, folders, configs)
        words += mtls_flags(state.ports[sentry.NAME])
        words += monitor.SIDECAR_FLAGS if app_id == monitor.NAME else ()
        words += self._wiring.sidecar_flags(app_id)
        read = {**topic_scopes(), **plan.component_env, **self._servers(login or app_of(app_id))}
        environment = sidecar.environment(plan.tokens.pair(app_id), read, pod_name, sidecar_of(app_of(app_id)))
        environment |= state.identities.environment(known.app_id, name)
        environment |= {**self._wiring.sidecar_env(app_id), **(env or {})}
        state.processes.start(name, words, env=environment, cwd=root())
        return known

    @property
    def _access(self) -> Path:
        """The Configuration with the access control of all sidecars."""
        return self._state.plan.run_folder / "access.yaml"

    def _servers(self, login: str) -> dict[str, str]:
        """The addresses of the servers, as the sidecars reach them, with a login."""
        ports = self._state.ports
        found: dict[str, str] = {}
        for env, address in self._state.addresses_as(login).items():
            server = self._state.plan.servers[env]
            name = server.names[0]
            found |= server.variables(self._wiring.address(name, address, ports.get(name)))
        return found

    def stop(self, app_id: str, seconds: float = STOP_SECONDS) -> None:
        """Stop a sidecar, and kill it after the timeout; its app keeps running."""
        self._state.processes.stop([sidecar_of(app_id)], seconds)

    def wait_for_components(self, name: str, deadline: Deadline) -> None:
        """Wait until a replica's sidecar has loaded its components, or has ended."""
        process, port = sidecar_of(name), self.port(name)

        def loaded() -> bool:
            is_alive = self._state.processes.is_alive(process)
            return not is_alive or get(port, OUTBOUND_HEALTH, timeout_seconds=ANSWER_SECONDS_MAX)[0] in (200, 204)

        log = self._state.processes.log(process)
        late = f"{process} has not loaded its components after {COMPONENTS_SECONDS} s: see {log}"
        deadline.until(loaded, COMPONENTS_SECONDS, lambda: late, 0.2)

    def port(self, app_id: str) -> int:
        """The HTTP API port of an app's sidecar."""
        return self._state.ports[sidecar_of(app_id)]

    def answers(self, name: str) -> bool:
        """Whether a replica's sidecar answers, healthy or not."""
        token = self._state.plan.tokens[sidecar_of(name)]
        return get(self.port(name), "/v1.0/healthz", token, ANSWER_SECONDS_MAX)[0] != 0


def name_resolution(folder: Path, daprd: Daprd, report: Report) -> Path:
    """Write the Configuration by which the sidecars of one system find each other."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "names.yaml"
    if not daprd.has_sqlite_resolver:
        report(f"{daprd.path} resolves names by mDNS only: two systems on one network would mix")
        sidecar.write_mdns(config)
        return config
    for old in folder.glob("names.sqlite*"):  # addresses of a stopped system
        old.unlink()
    sidecar.write_name_resolution(config, folder / "names.sqlite")
    return config
