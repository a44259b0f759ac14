"""The gateways of a running system, as `sidecart reconcile` and `sidecart status` ask them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.runfile import RunFile
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of
from sidecart.launcher.unfinished import PATH, Unfinished, stuck_path

CALL_SECONDS_MAX = 120.0  # a gateway checks about a thousand flows in some seconds


@dataclass(frozen=True, slots=True)
class Gateways:
    """The gateways of a running system."""

    ports: Mapping[str, int]
    tokens: Mapping[str, str]

    def unfinished(self) -> list[Unfinished]:
        """Return the flows that no gateway has seen to end, oldest first."""
        return self._all("GET", PATH)

    def stuck(self) -> list[Unfinished]:
        """Return those that have not ended within STUCK_SECONDS, oldest first."""
        return self._all("GET", stuck_path())

    def reconcile(self) -> list[Unfinished]:
        """Make each gateway check its flows and repeat commands; return the unfinished flows."""
        return self._all("POST", PATH)

    def _all(self, method: str, path: str) -> list[Unfinished]:
        found = {flow.id: flow for name in self.ports for flow in self._ask(name, method, path)}
        return sorted(found.values(), key=lambda flow: flow.at)

    def _ask(self, name: str, method: str, path: str) -> list[Unfinished]:
        url, headers = f"http://127.0.0.1:{self.ports[name]}{path}", {"dapr-api-token": self.tokens[name]}
        request = urllib.request.Request(url, method=method, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=CALL_SECONDS_MAX) as answer:
                return [Unfinished(**flow) for flow in json.load(answer)["flows"]]
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise LaunchError(f"{name} at port {self.ports[name]} does not answer: {error}") from error


def gateways_of(system: RunFile) -> Gateways:
    """Return the gateways of a system that is ready."""
    ports = {name: system.ports[name] for name in system.processes if app_of(name) == GATEWAY and name in system.ports}
    return Gateways(ports, system.tokens)
