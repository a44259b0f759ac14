"""`sidecart reconcile`: check the unfinished accepted requests and repeat their commands."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of

CALL_SECONDS_MAX = 120.0  # a gateway checks about a thousand flows in some seconds
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One accepted request, as reported by a gateway."""

    kind: str
    id: str
    at: str
    attempts: int

    def line(self) -> str:
        """Format the request as one line of output."""
        times = "not repeated yet" if self.attempts == 0 else f"repeated {self.attempts} times"
        return f"{self.kind:6} {self.id}  accepted {self.at}  {times}"


@dataclass(frozen=True, slots=True)
class Gateways:
    """The gateways of a running system."""

    ports: Mapping[str, int]
    token: str

    def unfinished(self) -> list[Unfinished]:
        """Return the flows that no gateway has seen to end, oldest first."""
        return self._all("GET")

    def reconcile(self) -> list[Unfinished]:
        """Make each gateway check its flows and repeat commands; return the unfinished flows."""
        return self._all("POST")

    def _all(self, method: str) -> list[Unfinished]:
        found = {flow.id: flow for port in self.ports.values() for flow in self._ask(port, method)}
        return sorted(found.values(), key=lambda flow: flow.at)

    def _ask(self, port: int, method: str) -> list[Unfinished]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/reconcile", method=method, headers={"dapr-api-token": self.token}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=CALL_SECONDS_MAX) as answer:
                return [Unfinished(**flow) for flow in json.load(answer)["flows"]]
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise LaunchError(f"the gateway at port {port} does not answer: {error}") from error


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart reconcile`."""
    parser.add_argument("--dry-run", action="store_true", help="only list them, including those in progress")
    parser.add_argument(
        "--wait",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long to wait for the flows to end (default %(default)s)",
    )
    parser.set_defaults(command=reconcile)


def running() -> Gateways:
    """Return the gateways of the running system."""
    system = runfile.read()
    if system is None or not system.ready:
        raise LaunchError("no system is running: start one with make run")
    ports = {name: system.ports[name] for name in system.processes if app_of(name) == GATEWAY and name in system.ports}
    return Gateways(ports, system.tokens["APP_API_TOKEN"])


def reconcile(options: argparse.Namespace) -> int:
    """List the unfinished flows, repeat their commands unless this is a dry run, and wait.

    Returns 1 if any flow is still unfinished.
    """
    gateways = running()
    if options.dry_run:
        return _report(gateways.unfinished(), "unfinished")
    stuck = gateways.reconcile()
    if not stuck:
        return _report(stuck, "stuck")
    for flow in stuck:
        print(flow.line())
    print(f"repeated the commands of {len(stuck)} flows; waiting up to {options.wait:.0f} s", file=sys.stderr)
    ids = {flow.id for flow in stuck}

    def left() -> list[Unfinished]:
        return [flow for flow in gateways.unfinished() if flow.id in ids]

    try:
        Deadline().until(lambda: not left(), options.wait, lambda: "timed out", LOOK_SECONDS)
    except LaunchError:
        return _report(left(), "still stuck")
    print(f"healed {len(stuck)}")
    return 0


def _report(flows: Sequence[Unfinished], what: str) -> int:
    for flow in flows:
        print(flow.line())
    print(f"{len(flows)} {what}")
    return 1 if flows and what != "unfinished" else 0
