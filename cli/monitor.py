"""How the live page (monitor/) is started: a process and a sidecar of its own beside the shop, which needs neither."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chassis.settings import whole
from cli.environment import observed_environment, plain_environment
from cli.topics import MONITOR
from cli.topology import app_for_sidecar

NAME = MONITOR
COMMAND = (sys.executable, "-m", "monitor")
PORT = 8001
"""Where `sidecart run` opens it, if the port is to be had."""
SIDECAR_FLAGS = ("--max-body-size", "512Mi")
"""What it may send the page in one message: more than any broker keeps, for one that is larger ends its stream."""
START_SECONDS = 30.0
STOP_SECONDS = 40.0
"""It finishes what it answers (15 s at most), ends its subscriptions (15 s), and removes what they left behind."""


GRACE_SECONDS = 60
"""How long its tap stays after the last looker: a page that lost its connection comes back and has missed nothing."""
GRACE_SECONDS_MAX = 600


def grace_seconds(environ: Mapping[str, str]) -> int:
    """The one setting of its own that a person may give."""
    return whole(environ, "GRACE_SECONDS", 0, GRACE_SECONDS_MAX, GRACE_SECONDS)


def resources(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Of the shop's folders the broker's alone: no store, and no policy that offers an event again (ADR 30)."""
    return tuple(folder for folder in folders if folder.parent.name == "brokers")


def environment(
    ports: Mapping[str, int],
    replicas: Sequence[str],
    tokens: Mapping[str, str],
    grpc_port: int,
    values: Mapping[str, str],
) -> dict[str, str]:
    """What it is told: where everything is, and the tokens that it asks with."""
    shop = {name: number for name, number in ports.items() if name in replicas or app_for_sidecar(name) in replicas}
    return {
        **plain_environment(),
        **observed_environment(),
        "PYTHONUNBUFFERED": "1",
        **tokens,
        "APP_PORT": str(ports[NAME]),
        "DAPR_GRPC_PORT": str(grpc_port),
        "SHOP_PORTS": json.dumps(shop),
        **values,
    }
