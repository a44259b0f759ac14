"""Checks before the start: missing programs, wrong settings, contradictions, old data."""

from __future__ import annotations

from sidecart.chassis.settings import sidecar_api
from sidecart.launcher import allowed_calls, consistency, data_version, proxy, runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.environments import app_environment, monitor_environment, trimmer_environment
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.topology import app_of


def check(state: State, wiring: Wiring) -> None:
    """Raise LaunchError with the first problem that would prevent the start."""
    plan = state.plan
    for env, server in plan.servers.items():
        if not plan.options.external.get(env) and (problem := server.unavailable()) is not None:
            raise LaunchError(problem)
    if plan.has_proxy and (problem := proxy.unavailable()) is not None:
        raise LaunchError(problem)
    given = [name for name, value in plan.configured.items() if name.startswith("OIDC_") and value]
    if plan.auth == runfile.OFF and given:
        raise LaunchError(f"AUTH=off trusts no issuer: unset AUTH, or {', '.join(given)}")
    for name in plan.replicas:
        _check_app(state, wiring, name)
    if plan.has_monitor:
        monitor_environment(state)
    if plan.has_trimmer:
        trimmer_environment(state)
    consistency.check()
    if plan.broker is not None:
        data_version.check(plan.data)


def _check_app(state: State, wiring: Wiring, name: str) -> None:
    plan, app_id = state.plan, app_of(name)
    environment = app_environment(state, wiring, name)
    if app_id not in plan.options.replaced:  # another program may use another API
        allowed_calls.check(plan.apps[app_id].config, sidecar_api(environment))
