"""The running baseline: a broker, Redis, a mail catcher and five apps, on loopback."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import floor_app
from bench.unpaced import UNPACED
from sidecart.issuer import tokens
from sidecart.issuer.keys import JWKS_PATH
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.plan import ISSUER, MAIL_CATCHER
from sidecart.launcher.lifecycle.start import issuer, mail_catcher
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.server import Server
from sidecart.launcher.topics import GATEWAY, app_ids

READY_SECONDS = 60
STOP_SECONDS = 20


class BaselineShop:
    """A context manager: entering starts the baseline and waits until it is ready, leaving stops
    it.

    Use it in the main thread only.
    """

    def __init__(
        self, broker: str, folder: Path, report: Callable[[str], None], settings: Mapping[str, str] = UNPACED
    ) -> None:
        self.kind = broker
        self._folder = folder
        self._report = report
        self.deadline = Deadline()
        self.logs = folder / "logs"
        self._processes = Processes(self.logs)
        self._servers: list[Server] = []
        self._settings = settings
        self._env: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.ports = {name: free_port() for name in (*app_ids(), "mail-smtp", "mail-http", ISSUER)}
        self.issuer_folder = folder / "issuer"
        self.seconds_to_ready = 0.0

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
        """The pid of every process, by name."""
        return self._processes.pids()

    @property
    def redis_url(self) -> str:
        """The Redis of the records; with broker redis also of the streams."""
        return f"redis://{self.addresses['redis']}"

    @property
    def broker_url(self) -> str:
        """The broker's address."""
        return self.redis_url if self.kind == "redis" else self.addresses[self.kind]

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _start(self) -> None:
        data = self._folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        for name, server in {self.kind: BROKERS[self.kind], "redis": STORES["redis"]}.items():
            self._report(f"baseline: starting {server.names[0]}")
            self._servers.append(server)
            self.addresses[name] = server.start(self._processes, data, self.deadline)
        self._processes.start(MAIL_CATCHER, mail_catcher(self.ports, data), env=plain_environment(), cwd=root())
        self.deadline.until(lambda: is_listening(self.ports["mail-smtp"]), READY_SECONDS, lambda: "no mail catcher")
        self._processes.start(
            ISSUER, issuer(self.ports[ISSUER], self.issuer_folder), env=plain_environment(), cwd=root()
        )
        started = time.monotonic()
        self._env = {
            "OIDC_ISSUER": tokens.ISSUER,
            "OIDC_JWKS": f"http://127.0.0.1:{self.ports[ISSUER]}{JWKS_PATH}",
            "BROKER": self.kind,
            "BROKER_URL": self.broker_url,
            "REDIS_URL": self.redis_url,
            **self._settings,
            "SMTP_URL": f"smtp://127.0.0.1:{self.ports['mail-smtp']}",
            **{f"{name.upper()}_URL": f"http://127.0.0.1:{self.ports[name]}" for name in app_ids() if name != GATEWAY},
        }
        for name in app_ids():
            self.start_app(name)
        self.wait_ready(GATEWAY)
        self.seconds_to_ready = time.monotonic() - started

    def start_floor(self) -> str:
        """Start the two apps of the floor in this shop, wait until they answer, return the
        gateway's address.
        """
        for name, word in {floor_app.GATEWAY: "gateway", floor_app.SERVICE: "service"}.items():
            self.ports[name] = free_port()
            env = self._env | {"APP_PORT": str(self.ports[name])}
            self._run(name, ["-m", "bench.baseline.floor", word], env)
        port = self.ports[floor_app.GATEWAY]
        self.deadline.until(
            lambda: get(port, "/ask")[0] == 201, READY_SECONDS, lambda: f"no floor: see {self.logs}", 0.5
        )
        return f"http://127.0.0.1:{port}"

    def start_app(self, name: str) -> None:
        """Start an app without waiting for it."""
        module = ["bench.baseline.gateway"] if name == GATEWAY else ["bench.baseline.service", name]
        self._run(name, ["-m", *module], self._env | {"APP_PORT": str(self.ports[name])})

    def stop_app(self, name: str) -> None:
        """Stop an app."""
        self._processes.stop([name], STOP_SECONDS)

    def kill(self, name: str) -> None:
        """Kill a process at once, as a crash would."""
        self._processes.kill(name)

    def wait_ready(self, name: str) -> None:
        """Wait until an app reports ready; the gateway reports ready when all services are."""

        def ready() -> bool:
            for dead, code in self._processes.dead().items():
                raise LaunchError(f"{dead} ended with code {code}: " + "\n".join(self._processes.last_lines(dead)))
            return get(self.ports[name], "/readyz")[0] == 200

        self.deadline.until(ready, READY_SECONDS, lambda: f"{name} is not ready: see {self.logs}", 0.1)

    def _run(self, name: str, words: list[str], env: dict[str, str]) -> None:
        self._processes.start(name, [sys.executable, *words], env={**plain_environment(), **env}, cwd=root())

    def _stop(self) -> None:
        self._processes.stop([GATEWAY], STOP_SECONDS)
        self._processes.stop([*app_ids(), floor_app.GATEWAY, floor_app.SERVICE, MAIL_CATCHER, ISSUER], STOP_SECONDS)
        for server in self._servers:
            for name in server.names:
                self._processes.stop([name], server.stop_seconds)
