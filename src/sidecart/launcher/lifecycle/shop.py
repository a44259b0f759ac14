"""The whole shop: starts and stops servers, mail catcher, sidecars and apps in order."""

import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecart.launcher import blocking_errors, consistency, data_version, monitor, proxy
from sidecart.launcher import daprd as sidecar_program
from sidecart.launcher import sidecar as sidecars
from sidecart.launcher.apps import App, read_apps, replaced, resource_folders
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import observed_environment, plain_environment, traced_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.settings import MAIL_SERVER, environment_of
from sidecart.launcher.ports import free_port, is_free, is_listening, this_or_free_port
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.addresses import without_password
from sidecart.launcher.servers.registry import BROKERS, STORES, Broker, Server
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.topics import GATEWAY, Subscription, monitor_subscriptions
from sidecart.launcher.topology import (
    app_for_sidecar,
    app_of,
    metrics_of,
    pod_name_of,
    readers,
    replica_names,
    sidecar_of,
    subscriptions_of_gone_gateways,
)

MAIL_CATCHER = "mail"
NOT_KNOWN_YET = "1"
"""A placeholder for a port or an address while the launcher checks settings before the start."""
EXTERNAL_SECONDS = 30
"""How long to wait for an external server, which may be starting."""
READY_SECONDS = 180
"""From the start of the apps until the last one is ready. On an idle machine this takes seconds."""
LOGS_SECONDS = 1.0  # between two checks of the logs for blocking errors
BLOCKING_ERROR_LINES = 200
APP_STOP_SECONDS = 20  # longer than the 15 s in which an app finishes its open requests
SIDECAR_ANSWER_SECONDS_MAX = 2.0  # a healthy sidecar answers within milliseconds
SIDECAR_STOP_SECONDS = sidecars.SHUTDOWN_SECONDS + 10

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """The parts of a shop. The launcher chooses the options that are None."""

    broker: str
    store: str = "redis"
    port: int | None = None
    folder: Path = field(kw_only=True)
    without: frozenset[str] = frozenset()
    resources: tuple[Path, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Path] = field(default_factory=dict)
    """Maps an app-id to the folder of a program that replaces ours.

    The folder's dapr.yaml defines how it starts.
    """
    external: Mapping[str, str] = field(default_factory=dict)
    """Maps a server's environment variable to the address of an external server."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The launcher's environment.

    Each app receives the settings that it reads (src/sidecart/launcher/lifecycle/settings.py).
    """
    gateways: int = 1
    """Several gateways run behind a proxy."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Maps an app-id to the number of replicas of a service."""
    monitor: bool = False
    """Whether to start the live page."""


class Shop:
    """One running shop: a context manager that starts it, waits until it is ready, and stops it.

    Use it from the main thread: the processes die with the thread that started them.
    """

    def __init__(self, options: Options, report: Report, deadline: Deadline | None = None) -> None:
        for kind, name, known in (("broker", options.broker, list(BROKERS)), ("store", options.store, list(STORES))):
            if name not in known:
                raise LaunchError(f"there is no {kind} {name}: choose from {', '.join(known)}")
        self.replicas = replica_names(options.gateways, options.replicas, options.without)
        self.options = options
        self.report = report
        self.deadline = deadline or Deadline()
        self.logs = options.folder / "logs"
        self.data = options.folder / "data" / f"{options.broker}-{options.store}"
        self.run_folder = options.folder / "run"
        self.tokens = {name: secrets.token_urlsafe(24) for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")}
        self.ports: dict[str, int] = {}
        self.resources: dict[str, tuple[Path, ...]] = {}
        """Maps a sidecar to the resource folders of its last start."""
        self.broker_address = ""
        self._apps = apps_with(options.replaced)
        self._processes = Processes(self.logs)
        self._servers: dict[str, str] = {}
        self._sidecars: dict[str, Sidecar] = {}
        self._started = False
        self.seconds_to_ready = 0.0
        self._logs_read = 0.0

    # --- Queries

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.ports[proxy.NAME if self._has_proxy else GATEWAY]}"

    @property
    def mail_url(self) -> str:
        """The mail catcher's address; empty if mails go to an external server."""
        return f"http://127.0.0.1:{self.ports['mail-http']}" if self._has_mail_catcher else ""

    @property
    def mails_at(self) -> str:
        """The address where the mails are: the mail catcher, or the external mail server."""
        return self.mail_url or without_password(self.options.settings[MAIL_SERVER])

    @property
    def monitor_url(self) -> str:
        """The live page's address; empty without a live page."""
        return f"http://127.0.0.1:{self.ports[monitor.NAME]}" if self.options.monitor else ""

    @property
    def processes(self) -> dict[str, int]:
        """Maps each process to its pid. A sidecar's name is its replica's name with -sidecar."""
        return self._processes.pids()

    @property
    def dead(self) -> dict[str, int]:
        """Maps each process that ended unexpectedly to its exit code."""
        return self._processes.dead()

    @property
    def started(self) -> bool:
        """Whether any process was started."""
        return bool(self._processes.logged)

    def last_lines(self, name: str) -> list[str]:
        """The last lines of a process's log."""
        return self._processes.last_lines(name)

    def app_port(self, app_id: str) -> int:
        """The port that the app listens on."""
        return self.ports[app_id]

    def sidecar_port(self, app_id: str) -> int:
        """The HTTP API port of the app's sidecar."""
        return self.ports[sidecar_of(app_id)]

    @property
    def broker(self) -> Broker:
        """The launcher's interface to the selected broker."""
        return BROKERS[self.options.broker]

    @property
    def servers(self) -> dict[str, Server]:
        """The broker and the store by address variable; one entry if both are the same server."""
        return {each.env: each for each in (self.broker.server, STORES[self.options.store])}

    @property
    def store_address(self) -> str:
        """The address of the store."""
        return self._servers[STORES[self.options.store].env]

    @property
    def _has_proxy(self) -> bool:
        return self.options.gateways > 1

    @property
    def _has_mail_catcher(self) -> bool:
        return not self.options.settings.get(MAIL_SERVER)

    # --- Start

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
        """Start everything and wait until the shop is ready.

        A second call does nothing, so `with` may follow.
        """
        if self._started:
            return
        self._started = True
        self._choose_ports()
        self._check()
        self._daprd = sidecar_program.find(self.report, self.deadline)
        self._names = self._resolve_names()
        self._start_servers()
        gone = [*subscriptions_of_gone_gateways(self.options.gateways), *monitor_subscriptions()]
        self.broker.remove(self.broker_address, gone)
        if self._has_mail_catcher:
            self.start_mail_catcher()
        self.report(f"starting {len(self.replicas)} apps and their sidecars")
        for name in self.replicas:
            self.start_pair(name)
        if self._has_proxy:
            self._start_proxy()
        self._wait_until_ready()
        if self.options.monitor:
            self.start_monitor()

    def _choose_ports(self) -> None:
        port = self.options.port
        if port is not None and not is_free(port):
            raise LaunchError(
                f"port {port} is in use: stop the process that uses it, or choose another port (make run PORT=8080)"
            )
        entrance = proxy.NAME if self._has_proxy else GATEWAY
        self.ports[entrance] = port or free_port()
        mail = ("mail-smtp", "mail-http") if self._has_mail_catcher else ()
        for name in (*self.replicas, *map(metrics_of, self.replicas), *mail):
            self.ports.setdefault(name, free_port())
        if self._has_mail_catcher:
            self.ports[MAIL_CATCHER] = self.ports["mail-http"]
        if self.options.monitor:
            chosen = port in (None, monitor.PORT)
            self.ports[monitor.NAME] = free_port() if chosen else this_or_free_port(monitor.PORT)

    def _check(self) -> None:
        """Raise LaunchError for a missing program or a wrong setting before anything starts."""
        for env, server in self.servers.items():
            if not self.options.external.get(env) and (problem := server.unavailable()) is not None:
                raise LaunchError(problem)
        if self._has_proxy and (problem := proxy.unavailable()) is not None:
            raise LaunchError(problem)
        for name in self.replicas:
            self.app_environment(name)
        if self.options.monitor:
            self._monitor_environment()
        consistency.check()
        data_version.check(self.data)

    def _resolve_names(self) -> tuple[Path, ...]:
        self.run_folder.mkdir(parents=True, exist_ok=True)
        if not self._daprd.has_sqlite_resolver:
            self.report(f"{self._daprd.path} resolves names by mDNS only: two shops on one network would mix")
            config = self.run_folder / "names.yaml"
            sidecars.write_mdns(config)
            return (config,)
        database = self.run_folder / "names.sqlite"
        for old in self.run_folder.glob("names.sqlite*"):  # addresses of a stopped shop
            old.unlink()
        config = self.run_folder / "names.yaml"
        sidecars.write_name_resolution(config, database)
        return (config,)

    def _start_servers(self) -> None:
        for env, server in self.servers.items():
            address = self._servers[env] = self._use_or_start(server, self.options.external.get(env))
            server.prepare(address)
        self.broker_address = self._servers[self.broker.server.env]

    def _use_or_start(self, server: Server, external: str | None) -> str:
        if external:
            self._wait_for(server, external)
            return external
        self.report(f"starting {server.names[0]}")
        self.data.mkdir(parents=True, exist_ok=True)
        for name in server.ports:
            self.ports[name] = free_port()
        address = self._launch(server)
        server.wait(address, self._processes, self.deadline)
        return address

    def _launch(self, server: Server) -> str:
        ports = [self.ports[name] for name in server.ports]
        return server.launch(self._processes, self.data, ports, self.deadline)

    def _wait_for(self, server: Server, address: str) -> None:
        """Wait for an external server, which may be starting."""
        problem = server.check(address)
        if problem is not None:
            _raise_if_refused(problem)
            self.report(f"waiting up to {EXTERNAL_SECONDS} s: {problem}")

        def late() -> str:
            return f"the external server cannot be used: {problem}"

        def answers() -> bool:
            nonlocal problem
            problem = server.check(address)
            _raise_if_refused(problem or "")
            return problem is None

        self.deadline.until(answers, EXTERNAL_SECONDS, late, step_seconds=0.5)

    def start_mail_catcher(self, *more: str) -> None:
        """Start the mail catcher, with additional arguments if any; do not wait for it."""
        words = mail_catcher(self.ports, self.options.folder / "data")
        self._processes.start(MAIL_CATCHER, [*words, *more], env=plain_environment(), cwd=root())

    def _start_proxy(self) -> None:
        gateways = {name: self.ports[name] for name in self.replicas if app_of(name) == GATEWAY}
        words = proxy.command(self.run_folder, self.ports[proxy.NAME], gateways)
        self._processes.start(proxy.NAME, words, env=plain_environment(), cwd=self.run_folder)

    def start_monitor(self) -> None:
        """Start the live page and wait until it accepts connections.

        A failure is only reported, because the shop does not need the page.
        """
        try:
            self._start_monitor_sidecar()
            self._start_monitor_app()
            self.deadline.until(
                lambda: not self._processes.is_alive(monitor.NAME) or is_listening(self.ports[monitor.NAME]),
                monitor.START_SECONDS,
                lambda: "it does not answer",
            )
        except LaunchError as error:
            self.report(f"the live page did not start: {error}; see {self._processes.log(monitor.NAME)}")

    def _start_monitor_app(self) -> None:
        self._processes.start(monitor.NAME, monitor.COMMAND, env=self._monitor_environment(), cwd=root())

    def _monitor_environment(self) -> dict[str, str]:
        monitor_settings = {
            "BROKER": self.options.broker,
            "STORE": self.options.store,
            "BROKER_ADDRESS": self.broker_address or NOT_KNOWN_YET,
            "GATEWAY_URL": self.url,
            "MAIL_URL": self.mail_url,
        }
        known = self._sidecars.get(monitor.NAME)
        grpc_port = int(NOT_KNOWN_YET) if known is None else known.grpc_port
        env = monitor.environment(self.ports, self.replicas, self.tokens, grpc_port, monitor_settings)
        return {**environment_of(monitor.NAME, env, self.options.settings), **self.options.env}

    def _start_monitor_sidecar(self) -> None:
        folders = monitor.resources(self._resources(self._apps[GATEWAY]))
        self.start_sidecar_for(monitor.NAME, None, resources=folders)

    def start_app(self, name: str) -> None:
        """Start a replica next to its sidecar; do not wait for it."""
        app = self._apps[app_of(name)]
        self._processes.start(name, app.command, env=self.app_environment(name), cwd=app.folder)

    def app_environment(self, name: str) -> dict[str, str]:
        """Return the environment of a replica. Raise LaunchError for a missing or wrong setting."""
        app = self._apps[app_of(name)]
        decided = {
            **plain_environment(),
            **observed_environment(),
            "PYTHONUNBUFFERED": "1",
            **self.tokens,
            "APP_PORT": str(self.ports[name]),
            "METRICS_PORT": str(self.ports[metrics_of(name)]),
            "DAPR_HTTP_PORT": str(self.port_for_others(sidecar_of(name)))
            if sidecar_of(name) in self.ports
            else NOT_KNOWN_YET,
            "POD_NAME": pod_name_of(name),
            **(
                {MAIL_SERVER: f"smtp://127.0.0.1:{self.port_for_others('mail-smtp')}"} if self._has_mail_catcher else {}
            ),
        }
        defaults = {**({"DRAIN_SECONDS": str(proxy.DRAIN_SECONDS)} if self._has_proxy else {}), **app.env}
        configured = {**self.options.settings, **self.options.env}
        return {**environment_of(app.app_id, decided, configured, defaults), **self.options.env}

    def _start_sidecar(self, name: str) -> None:
        self.start_sidecar_for(name, self.port_for_others(name), pod_name=pod_name_of(name))

    def add_gateway(self, name: str) -> str:
        """Start a further gateway (gateway-1, ...), wait until it is ready, return its address."""
        assert app_of(name) == GATEWAY, f"{name} is not the name of a gateway"
        for each in (name, metrics_of(name)):
            self.ports.setdefault(each, free_port())
        self.start_pair(name)
        self.wait_ready(name)
        self._wait_for_subscriptions([name])
        return f"http://127.0.0.1:{self.ports[name]}"

    def start_sidecar_for(
        self,
        app_id: str,
        app_port: int | None,
        *,
        resources: Iterable[Path] | None = None,
        pod_name: str = f"{GATEWAY}-0",
        env: Mapping[str, str] | None = None,
    ) -> Sidecar:
        """Start a sidecar for an app of the shop or for an outside consumer such as a tap.

        The ports stay the same over restarts.
        """
        app = self._apps.get(app_of(app_id), self._apps[GATEWAY])
        known = self._sidecars.get(app_id)
        if known is None or known.app_port != app_port:
            known = Sidecar(app_of(app_id), free_port(), free_port(), free_port(), app_port)
            self._sidecars[app_id] = known
        name = sidecar_of(app_id)
        self.ports[name] = known.http_port
        folders = self.resources[name] = tuple(resources) if resources is not None else self._resources(app)
        tracing = (root() / sidecars.TRACING,) if traced_environment() else ()
        words = sidecars.command(self._daprd.path, app, known, folders, (app.config, *tracing, *self._names))
        words += self.sidecar_flags(app_id)
        servers = {env: self.address_for_others(env) for env in self._servers}
        environment = sidecars.environment(self.tokens, servers, pod_name, sidecar_of(app_of(app_id)))
        environment |= dict(env or {})
        self._processes.start(name, words, env=environment, cwd=root())
        return known

    def sidecar_flags(self, app_id: str) -> Sequence[str]:
        """Return the last arguments of a sidecar's command line.

        Only the live page needs any; subclasses override this.
        """
        return monitor.SIDECAR_FLAGS if app_id == monitor.NAME else ()

    def port_for_others(self, name: str) -> int:
        """Return the port at which an app and its sidecar reach each other.

        A subclass may put a proxy in front of it.
        """
        return self.ports[name]

    def address_for_others(self, env: str) -> str:
        """Return the server address that sidecars receive.

        A subclass may put a proxy in front of the server.
        """
        return self._servers[env]

    def _resources(self, app: App) -> tuple[Path, ...]:
        if self.options.resources is not None:
            return self.options.resources
        return resource_folders(app.resources, self.options.broker, self.options.store)

    # --- Ready

    def _wait_until_ready(self) -> None:
        started = time.monotonic()
        is_complete = not self.options.without
        waiting: dict[str, str] = dict.fromkeys(self.replicas, "has not answered yet")
        if self._has_proxy:
            waiting[proxy.NAME] = "has not answered yet"

        def ready() -> bool:
            self._raise_if_blocked()
            for name in list(waiting):
                path = "/readyz" if is_complete or app_of(name) != GATEWAY else "/healthz"
                problem = self._problem(name, path)
                if problem is None:
                    del waiting[name]
                else:
                    waiting[name] = problem
            return not waiting

        def late() -> str:
            message = "; ".join(f"{name}: {problem}" for name, problem in waiting.items())
            return f"not ready after {READY_SECONDS} s: {message} (logs in {self.logs})\n{self._log_tails()}"

        self.deadline.until(ready, READY_SECONDS, late, step_seconds=0.1)
        self._wait_for_subscriptions(self.replicas)
        self.deadline.until(
            lambda: (
                not self._has_mail_catcher
                or (is_listening(self.ports["mail-http"]) and is_listening(self.ports["mail-smtp"]))
            ),
            30,
            lambda: f"the mail catcher did not start: see {self._processes.log(MAIL_CATCHER)}",
        )
        self.seconds_to_ready = time.monotonic() - started
        self.report(f"ready in {self.seconds_to_ready:.1f} s")

    def _wait_for_subscriptions(self, names: Iterable[str]) -> None:
        unsubscribed = list(readers(names))

        def all_known() -> bool:
            nonlocal unsubscribed
            self._raise_if_blocked()
            unsubscribed = self.broker.missing(self.broker_address, unsubscribed)
            return not unsubscribed

        def late() -> str:
            message = ", ".join(f"{one.consumer_id} on {one.topic}" for one in unsubscribed)
            return f"not subscribed after {READY_SECONDS} s: {message} (logs in {self.logs})"

        self.deadline.until(all_known, READY_SECONDS, late, step_seconds=0.2)

    def _log_tails(self) -> str:
        """Return the last lines of each log: one app's delay often has its cause in another app."""
        tails = [(name, self._processes.last_lines(name, 3)) for name in self._processes.logged]
        return "\n".join(f"    {name}: {line}" for name, lines in tails for line in lines)

    def _raise_if_dead(self) -> None:
        for name, code in self.dead.items():
            self._raise_if_log_names_cause(name)
            lines = "\n".join(f"    {line}" for line in self.last_lines(name))
            raise LaunchError(f"{name} ended with code {code} while the shop was starting; its last lines:\n{lines}")

    def _raise_if_blocked(self) -> None:
        """Raise LaunchError if waiting cannot help.

        That is so if a process has ended, or its log names a blocking error on a server.
        """
        self._raise_if_dead()
        if time.monotonic() - self._logs_read < LOGS_SECONDS:
            return
        for name in self.processes:
            self._raise_if_log_names_cause(name)
        self._logs_read = time.monotonic()

    def _raise_if_log_names_cause(self, name: str) -> None:
        found = blocking_errors.first_in(self._processes.last_lines(name, BLOCKING_ERROR_LINES))
        if found is not None:
            raise LaunchError(f"{name} cannot become ready: {found.reason}\nTo fix it, {found.remedy}.")

    def _problem(self, app_id: str, path: str) -> str | None:
        status, body = get(self.ports[app_id], path, self.tokens["APP_API_TOKEN"])
        if status == 200:
            return None
        return f"{path} returns {status} {body}" if status else "does not answer"

    def is_ready(self, app_id: str) -> bool:
        """Whether the app reports itself ready."""
        return self._problem(app_id, "/readyz") is None

    def wait_ready(self, app_id: str, seconds: float = READY_SECONDS) -> None:
        """Wait until a restarted app reports itself ready."""
        self.deadline.until(
            lambda: self.is_ready(app_id), seconds, lambda: f"{app_id} is not ready after {seconds} s", 0.1
        )

    # --- Stop

    def stop_app(self, app_id: str) -> None:
        """Stop an app; its sidecar keeps running."""
        self._processes.stop([app_id], APP_STOP_SECONDS)

    def stop_sidecar(self, app_id: str, seconds: float = SIDECAR_STOP_SECONDS) -> None:
        """Stop a sidecar, and kill it after the timeout; its app keeps running."""
        self._processes.stop([sidecar_of(app_id)], seconds)

    def stop_process(self, name: str) -> None:
        """Stop a server, the mail catcher, or the proxy."""
        server = self.server_of(name)
        self._processes.stop([name], APP_STOP_SECONDS if server is None else server.stop_seconds)

    def stop_pair(self, app_id: str) -> None:
        """Stop an app's sidecar, then the app."""
        self.stop_sidecar(app_id)
        self.stop_app(app_id)

    def start_pair(self, app_id: str) -> None:
        """Start an app and its sidecar; do not wait for them."""
        self._start_sidecar(app_id)
        self.start_app(app_id)

    def restart_pair(self, name: str) -> None:
        """Restart a replica and its sidecar and wait until both serve, as in a rolling restart.

        A gateway stops before its sidecar, because it needs the sidecar to answer its held
        requests. A service stops after its sidecar, because the sidecar delivers events until it
        ends.
        """
        if app_of(name) == GATEWAY:
            self.stop_app(name)
            self.stop_sidecar(name)
        else:
            self.stop_pair(name)
        self.start_pair(name)
        self.wait_ready(name)
        self._wait_for_subscriptions([name])

    def kill(self, name: str) -> None:
        """Kill a process at once, as a crash would."""
        self._processes.kill(name)

    # --- Restarts

    def server_of(self, name: str) -> Server | None:
        """Return the server that owns a process, or None."""
        return next((each for each in self.servers.values() if name in each.names), None)

    def problem_of_servers(self) -> str | None:
        """Return why a sidecar would fail if it started now, or None.

        A sidecar needs its broker and its store.
        """
        for env, server in self.servers.items():
            if not self.options.external.get(env) and not self._processes.is_alive(server.names[0]):
                return f"{server.names[0]} is unreachable"
            problem = server.check(self._servers[env])
            if problem is not None:
                return problem
        return None

    def start_again(self, name: str) -> None:
        """Restart any ended process of the shop with the same arguments; do not wait for it."""
        server = self.server_of(name)
        if server is not None:
            self._launch(server)
        elif name == MAIL_CATCHER:
            self.start_mail_catcher()
        elif name == proxy.NAME:
            self._start_proxy()
        elif name == monitor.NAME:
            self._start_monitor_app()
        elif name == sidecar_of(monitor.NAME):
            self._start_monitor_sidecar()
        elif (served := app_for_sidecar(name)) is None:
            self.start_app(name)
        else:
            self._start_sidecar(served)

    def give_up(self, name: str) -> Sequence[str]:
        """Stop restarting a process that keeps crashing, if the shop can run without it.

        Returns the names of the abandoned processes, which are empty if the shop needs the process.
        """
        both = (monitor.NAME, sidecar_of(monitor.NAME))
        if name not in both:
            return ()
        self.stop_monitor()
        return both

    def stop_monitor(self) -> None:
        """Stop the live page and its sidecar.

        Either one alone would collect events that no process consumes.
        """
        self._processes.stop([monitor.NAME], monitor.STOP_SECONDS)
        self.stop_sidecar(monitor.NAME)
        with suppress(OSError):  # the next start removes the subscriptions
            self.broker.remove(self.broker_address, monitor_subscriptions())

    def unread_subscriptions(self) -> list[Subscription]:
        """Return the subscriptions of healthy replicas that have the wrong number of readers.

        Raises OSError if the broker is unreachable.
        """
        healthy = [name for name in self.replicas if self._problem(name, "/healthz") is None]
        whole = [
            name for name in healthy if all(app_of(each) != app_of(name) or each in healthy for each in self.replicas)
        ]
        return self.broker.unread(self.broker_address, readers(whole))

    def unresponsive_sidecars(self) -> list[str]:
        """Return the replicas whose sidecar runs but does not answer, such as a paused one."""
        return [name for name in self.replicas if sidecar_of(name) in self.processes and not self._answers(name)]

    def _answers(self, name: str) -> bool:
        token = self.tokens["DAPR_API_TOKEN"]
        return get(self.sidecar_port(name), "/v1.0/healthz", token, SIDECAR_ANSWER_SECONDS_MAX)[0] != 0

    # --- Shutdown

    def stop(self) -> None:
        """Stop the gateways, then the sidecars, the apps and the servers.

        Without gateways no new request arrives. The sidecars finish the events in delivery while
        the apps still run.
        """
        names = set(self.processes)
        apps = [name for name in names if app_for_sidecar(name) is None]
        servers = [server for server in self.servers.values() if names & set(server.names)]
        groups: list[tuple[list[str], float]] = [
            ([monitor.NAME], monitor.STOP_SECONDS),
            ([name for name in apps if app_of(name) == GATEWAY], APP_STOP_SECONDS),
            ([proxy.NAME], proxy.STOP_SECONDS),
            ([sidecar_of(app_id) for app_id in self._sidecars], SIDECAR_STOP_SECONDS),
            ([name for name in apps if app_of(name) in self._apps or name == MAIL_CATCHER], APP_STOP_SECONDS),
            *(([name], server.stop_seconds) for server in servers for name in server.names),
        ]
        for group, seconds in groups:
            for name in self._processes.stop(group, seconds):
                self.report(f"{name} did not stop within {seconds:.0f} s and was killed")
        for server in servers:
            server.sweep(self.data)
        assert not self.processes, f"left running: {', '.join(self.processes)}"


def _raise_if_refused(problem: str) -> None:
    """Raise LaunchError if a server answers with a refusal.

    A server that is still starting does not answer.
    """
    found = blocking_errors.first_in([problem])
    if found is not None:
        raise LaunchError(f"the external server cannot be used: {problem}\nTo fix it, {found.remedy}.")


def mail_catcher(ports: Mapping[str, int], data: Path) -> list[str]:
    """Return the command line of a mail catcher with its journal in a folder, which is created."""
    data.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "sidecart.launcher.servers.mailcatcher", "--journal", str(data / "mails.jsonl")]
    return [*words, "--smtp-port", str(ports["mail-smtp"]), "--http-port", str(ports["mail-http"])]


def apps_with(replaced_by: Mapping[str, Path]) -> dict[str, App]:
    """Return the apps of dapr.yaml, with replacements from other folders.

    Raise LaunchError for an unknown app or an unusable folder.
    """
    apps = read_apps()
    for app_id, folder in replaced_by.items():
        if app_id not in apps:
            raise LaunchError(f"there is no app {app_id}: choose from {', '.join(apps)}")
        apps[app_id] = replaced(apps[app_id], folder)
    return apps


def get(port: int, path: str, token: str = "", timeout_seconds: float = 3.0) -> tuple[int, str]:
    """GET a path of a local app; return status (0: no answer) and the body's first 500 bytes."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"dapr-api-token": token})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_seconds) as answer:
            return answer.status, answer.read(500).decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(500).decode(errors="replace")
    except (OSError, ValueError):
        return 0, ""
