"""`sidecart reconcile`: check the unfinished accepted requests and repeat their commands."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import click

from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of
from sidecart.launcher.unfinished import PATH, Unfinished, stuck_path

CALL_SECONDS_MAX = 120.0  # a gateway checks about a thousand flows in some seconds
LOOK_SECONDS = 0.5


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


@click.command("reconcile")
@click.option("--dry-run", is_flag=True, help="only list them, including those in progress")
@click.option("--wait", type=float, default=30.0, metavar="SECONDS", help="how long to wait for the flows to end")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="print each request as one JSON object with `kind`, `id`, `at`, `attempts` and `state` (unfinished, healed "
    "or stuck)",
)
def command(dry_run: bool, wait: float, as_json: bool) -> int:
    """List the unfinished accepted requests, repeat their commands, and wait until they end.

    The exit code is 1 if a request is still unfinished.
    """
    gateways = running()
    if dry_run:
        return _report(gateways.unfinished(), "unfinished", as_json)
    repeated = gateways.reconcile()
    if not repeated:
        return _report(repeated, "stuck", as_json)
    if not as_json:
        for flow in repeated:
            print(flow.line())
    print(f"repeated the commands of {len(repeated)} flows; waiting up to {wait:.0f} s", file=sys.stderr)
    left = _left_after(wait, gateways, {flow.id for flow in repeated})
    if as_json:
        stuck = {flow.id for flow in left}
        for flow in repeated:
            print(flow.as_json("stuck" if flow.id in stuck else "healed"))
        return 1 if left else 0
    if left:
        return _report(left, "still stuck", as_json)
    print(f"healed {len(repeated)}")
    return 0


def running() -> Gateways:
    """Return the gateways of the running system."""
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    ports = {name: system.ports[name] for name in system.processes if app_of(name) == GATEWAY and name in system.ports}
    return Gateways(ports, system.tokens)


def _left_after(seconds: float, gateways: Gateways, ids: Set[str]) -> list[Unfinished]:
    """Wait until the requests with these ids have ended; return those that have not."""

    def left() -> list[Unfinished]:
        return [flow for flow in gateways.unfinished() if flow.id in ids]

    try:
        Deadline().until(lambda: not left(), seconds, lambda: "timed out", LOOK_SECONDS)
    except LaunchError:
        return left()
    return []


def _report(flows: Sequence[Unfinished], what: str, as_json: bool) -> int:
    for flow in flows:
        print(flow.as_json(what) if as_json else flow.line())
    if not as_json:
        print(f"{len(flows)} {what}")
    return 1 if flows and what != "unfinished" else 0
