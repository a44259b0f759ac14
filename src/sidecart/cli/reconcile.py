"""`sidecart reconcile`: check the unfinished accepted requests and repeat their commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence, Set

import click

from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.gateways import Gateways, gateways_of
from sidecart.launcher.unfinished import Unfinished

LOOK_SECONDS = 0.5


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
    return gateways_of(system)


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
