"""The launcher's settings for the live page (src/sidecart/monitor/).

The page is a process with its own sidecar. The system does not need it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from sidecart.chassis.settings import whole
from sidecart.launcher.environment import observed_environment, plain_environment
from sidecart.launcher.tokens import Tokens
from sidecart.launcher.topics import MONITOR
from sidecart.launcher.topology import app_for_sidecar

NAME = MONITOR
COMMAND = (sys.executable, "-m", "sidecart.monitor")
PORT = 8001
"""The port of the live page under `sidecart run`, if it is available."""
SIDECAR_FLAGS = ("--max-body-size", "512Mi")
"""The maximum size of a message to the page.

It exceeds any broker's limit, because a larger message ends the page's stream.
"""
START_SECONDS = 30.0
STOP_SECONDS = 40.0
"""The page finishes responses and ends subscriptions (15 s at most each), then cleans up."""


KEY_PARAMETER = "key"


def address(url: str, key: str) -> str:
    """Return the address that opens the page at a URL (src/sidecart/monitor/page_key.py)."""
    return f"{url}/?{KEY_PARAMETER}={key}"


GRACE_SECONDS = 60
"""How long the page keeps its subscriptions after the last viewer.

A browser that reconnects within this time misses no event.
"""
GRACE_SECONDS_MAX = 600


def grace_seconds(environ: Mapping[str, str]) -> int:
    """Read the live page's own setting."""
    return whole(environ, "GRACE_SECONDS", 0, GRACE_SECONDS_MAX, GRACE_SECONDS)


CONTAINERS_FILE = "tye-or-compose/monitor.yaml"
"""The Configuration of the page's sidecar for containers, as `sidecart scopes` writes it."""


def write_configuration(config: Path) -> None:
    """Write the Configuration of the page's sidecar, by which the page may only subscribe."""
    config.write_text(configuration(), encoding="utf-8")


def container_configuration() -> str:
    """Return the content of `CONTAINERS_FILE`."""
    return f"# Written by `sidecart scopes`: the calls that the live page's sidecar allows.\n{configuration()}"


def configuration() -> str:
    """Return the Configuration of the page's sidecar."""
    allowed = [
        {"name": "subscribe", "version": "v1alpha1", "protocol": "grpc"},
        {"name": "metadata", "version": "v1.0", "protocol": "http"},
    ]
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": NAME},
        "spec": {"api": {"allowed": allowed}},
    }
    return yaml.safe_dump(document)


def resources(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Return only the broker's folder (ADR 30).

    The page has no store, and no policy that redelivers an event.
    """
    return tuple(folder for folder in folders if folder.parent.name == "brokers")


def environment(
    ports: Mapping[str, int],
    replicas: Sequence[str],
    tokens: Tokens,
    grpc_port: int,
    values: Mapping[str, str],
) -> dict[str, str]:
    """Return the live page's environment: the ports and the tokens of all apps and sidecars."""
    known = {name: number for name, number in ports.items() if name in replicas or app_for_sidecar(name) in replicas}
    return {
        **plain_environment(),
        **observed_environment(),
        "PYTHONUNBUFFERED": "1",
        **tokens.pair(NAME),
        "APP_PORT": str(ports[NAME]),
        "DAPR_GRPC_PORT": str(grpc_port),
        "PROCESS_PORTS": json.dumps(known),
        "PROCESS_TOKENS": json.dumps({name: tokens[name] for name in known}),
        **values,
    }
