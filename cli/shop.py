"""The whole shop: servers, mail catcher, sidecars and apps, brought up in order and taken down without a trace."""

import re
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cli import daprd as sidecar_program
from cli import sidecar as sidecars
from cli.catalogue import APPS, GATEWAY, SERVICES, subscriptions
from cli.environment import plain_environment
from cli.errors import LaunchError
from cli.patience import Patience
from cli.ports import free_port, is_free, is_listening
from cli.processes import Processes
from cli.project import ROOT, App, read_apps, replaced, resource_folders
from cli.servers import BROKERS, STORES, Server
from cli.sidecar import Sidecar

MAIL_CATCHER = "mail"
POD_NAME = "gateway-0"
READY_SECONDS = 180
"""From the start of the apps to the last of them ready; seconds on an idle machine."""
APP_STOP_SECONDS = 20  # longer than the 15 s in which an app finishes what it is answering
SIDECAR_STOP_SECONDS = sidecars.SHUTDOWN_SECONDS + 10

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What a shop is made of; what is None is chosen."""

    broker: str
    store: str = "redis"
    port: int | None = None
    folder: Path = field(kw_only=True)
    without: frozenset[str] = frozenset()
    resources: tuple[Path, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Path] = field(default_factory=dict)
    """By app-id the folder of a program that takes the place of ours; its dapr.yaml says how it is started."""
    redis_host: str | None = None
    amqp_url: str | None = None


class Shop:
    """One running shop. A context manager: entering starts it and waits until it is ready, leaving stops it.

    Use it from the main thread: its processes die with the thread that started them.
    """

    def __init__(self, options: Options, report: Report, patience: Patience | None = None) -> None:
        for kind, name, known in (("broker", options.broker, BROKERS), ("store", options.store, STORES)):
            if name not in known:
                raise LaunchError(f"there is no {kind} {name}: choose one of {', '.join(known)}")
        self.options = options
        self.report = report
        self.patience = patience or Patience()
        self.logs = options.folder / "logs"
        self.data = options.folder / "data" / f"{options.broker}-{options.store}"
        self.run_folder = options.folder / "run"
        self.tokens = {name: secrets.token_urlsafe(24) for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")}
        self.ports: dict[str, int] = {}
        self.broker_address = ""
        self._apps = apps_with(options.replaced)
        self._processes = Processes(self.logs)
        self._servers: dict[str, str] = {}
        self._sidecars: dict[str, Sidecar] = {}
        self._started = False

    # --- What others ask

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.ports[GATEWAY]}"

    @property
    def mail_url(self) -> str:
        """The mail catcher's address."""
        return f"http://127.0.0.1:{self.ports['mail-http']}"

    @property
    def processes(self) -> dict[str, int]:
        """The pid of every process of the shop by name; a sidecar's name is its app's with -sidecar."""
        return self._processes.pids()

    @property
    def dead(self) -> dict[str, int]:
        """The processes that ended by themselves, with their exit codes."""
        return self._processes.dead()

    @property
    def started(self) -> bool:
        """Whether any process was started."""
        return bool(self._processes.logged)

    def last_lines(self, name: str) -> list[str]:
        """The end of a process's log."""
        return self._processes.last_lines(name)

    def app_port(self, app_id: str) -> int:
        """The port that the app listens on."""
        return self.ports[app_id]

    def sidecar_port(self, app_id: str) -> int:
        """The port of the HTTP API of the app's sidecar."""
        return self.ports[f"{app_id}-sidecar"]

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
        """Bring everything up and wait until it is ready; once is enough, also inside `with`."""
        if self._started:
            return
        self._started = True
        self._choose_ports()
        self._daprd = sidecar_program.find(self.report, self.patience)
        self._names = self._resolve_names()
        self._start_servers()
        self._start_mail_catcher()
        running = [app_id for app_id in APPS if app_id not in self.options.without]
        self.report(f"starting {len(running)} apps and their sidecars")
        for app_id in running:
            self._start_sidecar(app_id)
            self.start_app(app_id)
        self._wait_until_ready(running)

    def _choose_ports(self) -> None:
        port = self.options.port
        if port is not None and not is_free(port):
            raise LaunchError(f"port {port} is in use: stop what listens there, or choose another (make run PORT=8080)")
        self.ports[GATEWAY] = port or free_port()
        for name in SERVICES:
            self.ports[name] = free_port()
        for name in ("mail-smtp", "mail-http"):
            self.ports[name] = free_port()
        self.ports[MAIL_CATCHER] = self.ports["mail-http"]

    def _resolve_names(self) -> tuple[Path, ...]:
        self.run_folder.mkdir(parents=True, exist_ok=True)
        if not self._daprd.has_sqlite_resolver:
            self.report(f"{self._daprd.path} finds other sidecars by mDNS only: two shops on one network would mix")
            config = self.run_folder / "names.yaml"
            sidecars.write_mdns(config)
            return (config,)
        database = self.run_folder / "names.sqlite"
        for old in self.run_folder.glob("names.sqlite*"):  # a stopped shop's addresses
            old.unlink()
        config = self.run_folder / "names.yaml"
        sidecars.write_name_resolution(config, database)
        return (config,)

    def _start_servers(self) -> None:
        given = {"REDIS_HOST": self.options.redis_host, "AMQP_URL": self.options.amqp_url}
        broker, store = BROKERS[self.options.broker], STORES[self.options.store]
        for server in (broker, store):
            if server.env not in self._servers:
                self._servers[server.env] = self._use_or_start(server, given.get(server.env))
        self.broker_address = self._servers[broker.env]

    def _use_or_start(self, server: Server, given: str | None) -> str:
        if given:
            problem = server.check(given)
            if problem is not None:
                raise LaunchError(f"the server that was given cannot be used: {problem}")
            return given
        self.report(f"starting {server.names[0]}")
        self.data.mkdir(parents=True, exist_ok=True)
        address = server.start(self._processes, self.data, self.patience)
        self.ports[server.names[0]] = int(address.rpartition(":")[2])
        return address

    def _start_mail_catcher(self) -> None:
        smtp, web = self.ports["mail-smtp"], self.ports["mail-http"]
        words = [sys.executable, "-m", "cli.servers.mailcatcher", "--smtp-port", str(smtp), "--http-port", str(web)]
        self._processes.start(MAIL_CATCHER, words, env=plain_environment(), cwd=ROOT)

    def start_app(self, app_id: str) -> None:
        """Start an app, or a further gateway by its pod name, next to its sidecar; does not wait."""
        app = self._apps[app_of(app_id)]
        env = {
            **plain_environment(),
            "PYTHONUNBUFFERED": "1",
            **self.tokens,
            "APP_PORT": str(self.ports[app_id]),
            "DAPR_HTTP_PORT": str(self.sidecar_port(app_id)),
            "POD_NAME": pod_name_of(app_id),
            "SMTP_URL": f"smtp://127.0.0.1:{self.ports['mail-smtp']}",
            **app.env,
            **self.options.env,
        }
        self._processes.start(app_id, app.command, env=env, cwd=app.folder)

    def _start_sidecar(self, app_id: str) -> None:
        self.start_sidecar_for(app_id, self.ports[app_id], pod_name=pod_name_of(app_id))

    def add_gateway(self, pod_name: str) -> str:
        """Start a further gateway under a pod name (gateway-1, ...), wait until it is ready, return its address."""
        assert app_of(pod_name) == GATEWAY, f"{pod_name} is no pod name of a gateway"
        self.ports.setdefault(pod_name, free_port())
        self.start_pair(pod_name)
        self.wait_ready(pod_name)
        self._wait_for_subscriptions(pod_name)
        return f"http://127.0.0.1:{self.ports[pod_name]}"

    def start_sidecar_for(
        self,
        app_id: str,
        app_port: int | None,
        *,
        resources: Iterable[Path] | None = None,
        pod_name: str = POD_NAME,
        env: Mapping[str, str] | None = None,
    ) -> Sidecar:
        """Start a sidecar for an app of the shop or for a stranger to it (a tap); ports are kept over restarts."""
        app = self._apps.get(app_of(app_id), self._apps[GATEWAY])
        known = self._sidecars.get(app_id)
        if known is None or known.app_port != app_port:
            known = Sidecar(app_of(app_id), free_port(), free_port(), free_port(), app_port)
            self._sidecars[app_id] = known
        name = f"{app_id}-sidecar"
        self.ports[name] = known.http_port
        folders = tuple(resources) if resources is not None else self._resources(app)
        words = sidecars.command(self._daprd.path, app, known, folders, (app.config, *self._names))
        environment = sidecars.environment(self.tokens, self._servers, pod_name) | dict(env or {})
        self._processes.start(name, words, env=environment, cwd=ROOT)
        return known

    def _resources(self, app: App) -> tuple[Path, ...]:
        if self.options.resources is not None:
            return self.options.resources
        return resource_folders(app.resources, self.options.broker, self.options.store)

    # --- Ready

    def _wait_until_ready(self, running: list[str]) -> None:
        started = time.monotonic()
        whole = not self.options.without
        waiting: dict[str, str] = dict.fromkeys(running, "has not answered yet")

        def ready() -> bool:
            self._raise_if_dead()
            for app_id in list(waiting):
                path = "/readyz" if whole or app_id != GATEWAY else "/healthz"
                problem = self._problem(app_id, path)
                if problem is None:
                    del waiting[app_id]
                else:
                    waiting[app_id] = problem
            return not waiting

        def late() -> str:
            said = "; ".join(f"{app_id}: {problem}" for app_id, problem in waiting.items())
            return f"not ready after {READY_SECONDS} s: {said} (logs in {self.logs})\n{self._ends_of_logs()}"

        self.patience.until(ready, READY_SECONDS, late, step_seconds=0.1)
        self._wait_for_subscriptions()
        self.patience.until(
            lambda: is_listening(self.ports["mail-http"]) and is_listening(self.ports["mail-smtp"]),
            30,
            lambda: f"the mail catcher did not start: see {self._processes.log(MAIL_CATCHER)}",
        )
        self.report(f"ready in {time.monotonic() - started:.1f} s")

    def _wait_for_subscriptions(self, pod_name: str = POD_NAME) -> None:
        wanted = subscriptions(pod_name, self.options.without)
        broker = BROKERS[self.options.broker]

        def all_known() -> bool:
            nonlocal wanted
            self._raise_if_dead()
            wanted = broker.missing(self.broker_address, wanted)
            return not wanted

        def late() -> str:
            names = ", ".join(f"{one.app_id} on {one.topic}" for one in wanted)
            return f"not subscribed after {READY_SECONDS} s: {names} (logs in {self.logs})"

        self.patience.until(all_known, READY_SECONDS, late, step_seconds=0.2)

    def _ends_of_logs(self) -> str:
        """The last lines of each log that has any: what hinders one app is often in another's log."""
        ends = [(name, self._processes.last_lines(name, 3)) for name in self._processes.logged]
        return "\n".join(f"    {name}: {line}" for name, lines in ends for line in lines)

    def _raise_if_dead(self) -> None:
        for name, code in self.dead.items():
            lines = "\n".join(f"    {line}" for line in self.last_lines(name))
            raise LaunchError(f"{name} ended with code {code} while the shop was starting; its last lines:\n{lines}")

    def _problem(self, app_id: str, path: str) -> str | None:
        status, body = get(self.ports[app_id], path, self.tokens["APP_API_TOKEN"])
        if status == 200:
            return None
        return f"{path} says {status} {body}" if status else "does not answer"

    def is_ready(self, app_id: str) -> bool:
        """Whether the app says now that it can serve."""
        return self._problem(app_id, "/readyz") is None

    def wait_ready(self, app_id: str, seconds: float = READY_SECONDS) -> None:
        """Wait until an app that was started again says that it can serve."""
        self.patience.until(
            lambda: self.is_ready(app_id), seconds, lambda: f"{app_id} is not ready after {seconds} s", 0.1
        )

    # --- Stop

    def stop_app(self, app_id: str) -> None:
        """Stop an app; its sidecar stays."""
        self._processes.stop([app_id], APP_STOP_SECONDS)

    def stop_sidecar(self, app_id: str) -> None:
        """Stop a sidecar; its app stays."""
        self._processes.stop([f"{app_id}-sidecar"], SIDECAR_STOP_SECONDS)

    def stop_pair(self, app_id: str) -> None:
        """Stop an app's sidecar, then the app."""
        self.stop_sidecar(app_id)
        self.stop_app(app_id)

    def start_pair(self, app_id: str) -> None:
        """Start an app and its sidecar again; does not wait."""
        self._start_sidecar(app_id)
        self.start_app(app_id)

    def kill(self, name: str) -> None:
        """Kill a process at once, as a crash would."""
        self._processes.kill(name)

    def stop(self) -> None:
        """Stop the gateway (nothing new comes in), the sidecars (they finish what they hold), the apps, the servers."""
        names = set(self.processes)
        ours = [f"{app_id}-sidecar" for app_id in self._sidecars]
        servers = [server for server in (*BROKERS.values(), *STORES.values()) if names & set(server.names)]
        groups: list[tuple[list[str], float]] = [
            ([name for name in names if app_of(name) == GATEWAY], APP_STOP_SECONDS),
            (ours, SIDECAR_STOP_SECONDS),
            ([*SERVICES, MAIL_CATCHER], APP_STOP_SECONDS),
            *(([name], server.stop_seconds) for server in servers for name in server.names),
        ]
        for group, seconds in groups:
            for name in self._processes.stop(group, seconds):
                self.report(f"{name} did not stop within {seconds:.0f} s and was killed")
        assert not self.processes, f"left running: {', '.join(self.processes)}"


def app_of(name: str) -> str:
    """The app-id of a process: its name, but that a further gateway goes by its pod name."""
    return GATEWAY if re.fullmatch(rf"{GATEWAY}-\d+", name) else name


def pod_name_of(name: str) -> str:
    """The pod name of a process: its own if it is a further gateway."""
    return POD_NAME if app_of(name) == name else name


def apps_with(replaced_by: Mapping[str, Path]) -> dict[str, App]:
    """The apps of dapr.yaml, some of them with the program of another folder; raise LaunchError for what is none."""
    apps = read_apps()
    for app_id, folder in replaced_by.items():
        if app_id not in apps:
            raise LaunchError(f"there is no app {app_id}: choose from {', '.join(apps)}")
        apps[app_id] = replaced(apps[app_id], folder)
    return apps


def get(port: int, path: str, token: str = "", timeout_seconds: float = 3.0) -> tuple[int, str]:
    """GET a path of a local app: status (0: no answer) and the beginning of the body."""
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
