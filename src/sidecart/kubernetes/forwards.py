"""Local ports that kubectl forwards to pods, and the state of services through them."""

from __future__ import annotations

import base64
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sidecart.kubernetes import names
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_for_sidecar, app_of

SIDECAR_PORT = 3500
"""The port of a sidecar's HTTP API; the injector's default."""
START_SECONDS = 30
STOP_SECONDS = 5
TOKEN = "token"


_Key = tuple[str, tuple[int, ...]]
"""A target, and its ports."""


class Forwards:
    """A context manager; leaving ends every port-forward. All ports are on loopback."""

    def __init__(self, kubectl: Kubectl, deadline: Deadline) -> None:
        self._kubectl = kubectl
        self._deadline = deadline
        self._folder = tempfile.TemporaryDirectory(prefix="sidecart-forwards-")
        self._processes = Processes(Path(self._folder.name))
        self._ports: dict[_Key, dict[int, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._processes.stop([*self._processes.pids()], STOP_SECONDS)
        self._folder.cleanup()

    def port(self, target: str, number: int, local: int = 0) -> int:
        """Return the local port that leads to one port; `local` is the wanted one, 0 any."""
        return self.ports(target, {number: local})[number]

    def ports(self, target: str, wanted: Mapping[int, int]) -> dict[int, int]:
        """Return the local ports that lead to the ports of one pod of this target.

        Start one kubectl if it does not run yet or has ended, such as with its pod; the local ports
        stay the same. Raise LaunchError if no pod takes the connection.
        """
        key = target, tuple(wanted)
        name = f"{target.replace('/', '-')}-{'-'.join(map(str, wanted))}"
        if key in self._ports and self._processes.is_alive(name):
            return self._ports[key]
        self._processes.stop([name], STOP_SECONDS)  # one that has ended leaves its entry
        chosen = self._ports.setdefault(key, {number: local or free_port() for number, local in wanted.items()})
        words = self._kubectl.command(
            "port-forward", target, *(f"{local}:{number}" for number, local in chosen.items())
        )
        self._processes.start(name, words, env=os.environ, cwd=Path.cwd())
        self._deadline.until(
            lambda: self._is_open(name, chosen.values()), START_SECONDS, lambda: self._problem(name, target)
        )
        if not self._processes.is_alive(name):
            raise LaunchError(self._problem(name, target))
        return chosen

    def restore(self) -> None:
        """Start every kubectl that has ended again; raise LaunchError if one finds no pod yet."""
        for (target, numbers), chosen in list(self._ports.items()):
            self.ports(target, {number: chosen[number] for number in numbers})

    def _is_open(self, name: str, ports: Iterable[int]) -> bool:
        return not self._processes.is_alive(name) or all(map(is_listening, ports))

    def _problem(self, name: str, target: str) -> str:
        lines = self._processes.last_lines(name, 1) or ["kubectl gives no reason"]
        return f"no port-forward to {target}: {lines[0]}"


def workload_of(app_id: str) -> str:
    """Return the workload of an app, as kubectl wants it."""
    return f"{'statefulset' if app_id == GATEWAY else 'deployment'}/{app_id}"


def secret(kubectl: Kubectl, name: str, key: str) -> str:
    """Return one value of a Secret."""
    data = kubectl.get("secret", name).get("data", {})
    if key not in data:
        raise LaunchError(f"the Secret {name} has no key {key}: create it by `sidecart manifests --secrets`")
    return base64.b64decode(data[key]).decode()


def sidecar_token(kubectl: Kubectl, app_id: str) -> str:
    """Return the token that callers of an app's sidecar need."""
    return secret(kubectl, names.api_token_of(app_id), TOKEN)


class _Ports(dict[str, int]):
    """The local port of each sidecar; the port-forward starts when the port is read."""

    def __init__(self, forwards: Forwards) -> None:
        super().__init__()
        self._forwards = forwards

    def __missing__(self, sidecar: str) -> int:
        # not kept here: a later read starts an ended port-forward again
        return self._forwards.port(workload_of(_app_of(sidecar)), SIDECAR_PORT)


class _Tokens(dict[str, str]):
    """The token of each sidecar, read from its Secret when it is needed."""

    def __init__(self, kubectl: Kubectl) -> None:
        super().__init__()
        self._kubectl = kubectl

    def __missing__(self, sidecar: str) -> str:
        self[sidecar] = sidecar_token(self._kubectl, _app_of(sidecar))
        return self[sidecar]


def _app_of(sidecar: str) -> str:
    return app_of(app_for_sidecar(sidecar) or sidecar)


@contextmanager
def running_state(kubectl: Kubectl, deadline: Deadline) -> Iterator[RunningState]:
    """Yield the state of the services on a cluster, through their sidecars."""
    with Forwards(kubectl, deadline) as forwards:
        yield RunningState(_Ports(forwards), _Tokens(kubectl))
