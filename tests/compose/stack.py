"""The unchanged compose file, started on one broker and one store.

The tests run its health checks themselves, because the engine here does not run them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import yaml

from sidecart.launcher import proxy
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from tests.compose.engine import Engine, EngineError

FOLDER = root() / "tye-or-compose"
FILE = FOLDER / "docker-compose.yml"
SECRETS = FOLDER / "secrets"
"""make-secrets writes into it."""
SECONDS_MAX = 180
DOWN_TIMES_MAX = 3


def services(*profiles: str) -> dict[str, dict[str, Any]]:
    """Return the services that start with these profiles, in the order of the file."""
    every = yaml.safe_load(FILE.read_text("utf-8"))["services"]
    return {name: each for name, each in every.items() if "profiles" not in each or {*profiles} & {*each["profiles"]}}


def take_down(engine: Engine, down: Callable[[], object]) -> None:
    """Run a `down` of compose, and again if it leaves a container.

    podman 4.3 cannot stop a container that has just ended and is about to restart, as a sidecar
    without its broker does. Compose goes on, and the container restarts.
    """
    for _ in range(DOWN_TIMES_MAX):
        down()
        if engine.podman("ps", "--all", "--quiet") == "":
            return


class Stack:
    """One run of the compose file; a context manager that removes everything at its end."""

    def __init__(
        self, engine: Engine, broker: str, store: str = "redis", *profiles: str, reverse: bool = False
    ) -> None:
        self.engine = engine
        self.services = services(broker, store, *profiles)
        self.deadline = Deadline()
        self._project = f"sidecart-test-{os.getpid()}"
        self._ports = {name: free_port() for name in ("PORT", "MAIL_PORT", "PROXY_PORT", "LIVE_PORT")}
        gateways = str(len(proxy.CONTAINERS)) if "gateways" in profiles else "1"
        self._env = {
            "BROKER": broker,
            "STORE": store,
            "GATEWAYS": gateways,
            **{name: str(port) for name, port in self._ports.items()},
        }
        known = {profile for each in self.services.values() for profile in each.get("profiles", [])}
        self._profile = [word for each in sorted({broker, store, *profiles} & known) for word in ("--profile", each)]
        self._reverse = reverse

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self._ports['PORT']}"

    @property
    def proxy_url(self) -> str:
        """The address of all gateways, with the profile `gateways`."""
        return f"http://127.0.0.1:{self._ports['PROXY_PORT']}"

    @property
    def mail_url(self) -> str:
        """The mail catcher's address."""
        return f"http://127.0.0.1:{self._ports['MAIL_PORT']}"

    @property
    def page_url(self) -> str:
        """The address of the live page with its key, as page-address prints it."""
        words, env = [FOLDER / "page-address"], {**os.environ, "LIVE_PORT": str(self._ports["LIVE_PORT"])}
        return subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout.strip()

    def __enter__(self) -> Self:
        try:
            self._compose("build")
            if self._reverse:
                self._compose("up", "--no-start")
                for name in reversed(self.services):
                    self.start(name)
            else:
                self._compose("up", "-d")
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._print_logs()
        self.down()

    def down(self) -> None:
        """Remove all containers and networks, including the data."""
        take_down(self.engine, lambda: self._compose("down", "--volumes", "--timeout", "20"))

    def _compose(self, *words: str) -> None:
        self.engine.compose(FILE, self._project, self._env, *self._profile, *words)

    def recreate(self) -> None:
        """Replace all containers by new ones, and keep the volumes."""
        take_down(self.engine, lambda: self._compose("down", "--timeout", "20"))
        self._compose("up", "-d")

    def container(self, service: str) -> str:
        """Return the name of a service's container."""
        return f"{self._project}_{service}_1"

    def start(self, service: str) -> None:
        """Start one container that was stopped or never started."""
        self.engine.podman("start", self.container(service))

    def stop(self, service: str) -> None:
        """Stop one container on request, so that the engine does not restart it."""
        self.engine.podman("stop", "--time", "20", self.container(service))

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's description of a container."""
        return dict(json.loads(self.engine.podman("inspect", self.container(service)))[0])

    def crash(self, service: str) -> None:
        """Kill the first process of a container, without a request to the engine."""
        os.kill(self.inspect(service)["State"]["Pid"], signal.SIGKILL)

    def address(self, service: str, network: str) -> str:
        """Return the address of a container in one of the file's networks."""
        networks = self.inspect(service)["NetworkSettings"]["Networks"]
        return str(networks[f"{self._project}_{network}"]["IPAddress"])

    def run_in_network(self, service: str, command: list[str], env: Mapping[str, str]) -> str:
        """Run a program of this machine in the network of a container; return its output."""
        network = f"--net=/proc/{self.inspect(service)['State']['Pid']}/ns/net"
        return self.engine.run(["nsenter", network, *command], env)

    def is_healthy(self, service: str) -> bool:
        """Run the service's health check; return whether it passes."""
        return self.engine.succeeds("healthcheck", "run", self.container(service))

    def wait_ready(self) -> None:
        """Wait until the gateway is ready."""
        self.until(self._is_ready, "the gateway to be ready")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a polled condition holds."""
        self.deadline.until(condition, SECONDS_MAX, lambda: f"waited {SECONDS_MAX} s for {what}", 0.2)

    def _print_logs(self) -> None:
        for name in self.services:
            try:
                log = self.engine.podman("logs", "--tail", "15", self.container(name))
            except EngineError as error:
                log = str(error)
            print(f"--- {name}\n{log}")
