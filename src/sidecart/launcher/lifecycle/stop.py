"""Stops all processes of a system, in the sequence in which none of them misses another."""

from __future__ import annotations

from sidecart.launcher import monitor, proxy, sentry
from sidecart.launcher.lifecycle.options import Report
from sidecart.launcher.lifecycle.plan import ISSUER, MAIL_CATCHER
from sidecart.launcher.lifecycle.sidecars import STOP_SECONDS as SIDECAR_SECONDS
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_for_sidecar, app_of, sidecar_of

APP_SECONDS = 20  # longer than the 15 s in which an app finishes its open requests


def stop_all(state: State, report: Report) -> None:
    """Stop the gateways, then the sidecars, the apps and the servers.

    Without gateways no new request arrives. The sidecars finish the events in delivery while the
    apps still run.
    """
    running = set(state.processes.pids())
    for group, seconds in _groups(state, running):
        for name in state.processes.stop(group, seconds):
            report(f"{name} did not stop within {seconds:.0f} s and was killed")
    for server in state.plan.servers.values():
        if running & set(server.names):
            server.sweep(state.plan.data)
    left = state.processes.pids()
    assert not left, f"left running: {', '.join(left)}"


def _groups(state: State, running: set[str]) -> list[tuple[list[str], float]]:
    """The processes that stop together, with their time limit."""
    plan = state.plan
    apps = [name for name in running if app_for_sidecar(name) is None]
    servers = [server for server in plan.servers.values() if running & set(server.names)]
    return [
        ([monitor.NAME], monitor.STOP_SECONDS),
        ([name for name in apps if app_of(name) == GATEWAY], APP_SECONDS),
        ([proxy.NAME], proxy.STOP_SECONDS),
        ([sidecar_of(app_id) for app_id in state.sidecars], SIDECAR_SECONDS),
        ([name for name in apps if app_of(name) in plan.apps or name in (MAIL_CATCHER, ISSUER, TRIMMER)], APP_SECONDS),
        ([sentry.NAME], sentry.STOP_SECONDS),
        *(([name], server.stop_seconds) for server in servers for name in server.names),
    ]
