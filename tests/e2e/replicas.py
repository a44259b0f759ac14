"""Starts, stops and restarts a replica together with its sidecar, as a deployment does."""

from __future__ import annotations

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.ports import free_port
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, metrics_of


def start_pair(system: System, name: str) -> None:
    """Start a replica and its sidecar; do not wait for them."""
    system.sidecars.start(name)
    system.start_app(name)


def stop_pair(system: System, name: str) -> None:
    """Stop a replica's sidecar, then the replica."""
    system.sidecars.stop(name)
    system.stop_app(name)


def restart_pair(system: System, name: str) -> None:
    """Restart a replica and its sidecar and wait until both serve, as in a rolling restart.

    A gateway stops before its sidecar, because it needs the sidecar to answer its held requests. A
    service stops after its sidecar, because the sidecar delivers events until it ends.
    """
    if app_of(name) == GATEWAY:
        system.stop_app(name)
        system.sidecars.stop(name)
    else:
        stop_pair(system, name)
    start_pair(system, name)
    system.wait_ready(name)
    system.readiness.wait_for_subscriptions([name])


def add_gateway(system: System, name: str) -> str:
    """Start a further gateway (gateway-1, ...), wait until it is ready, return its address."""
    assert app_of(name) == GATEWAY, f"{name} is not the name of a gateway"
    for each in (name, metrics_of(name)):
        system.ports.setdefault(each, free_port())
    start_pair(system, name)
    system.wait_ready(name)
    system.readiness.wait_for_subscriptions([name])
    return f"http://127.0.0.1:{system.ports[name]}"
