"""The command line and the environment of a sidecar."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from sidecart.launcher.apps import App
from sidecart.launcher.environment import ENDPOINT, plain_environment, traced_environment

SHUTDOWN_SECONDS = 5
"""How long a stopping sidecar may finish deliveries; the broker redelivers unfinished events."""

CORES_PER_SIDECAR_CORE = 4
"""A sidecar uses a fourth of the cores, unless GOMAXPROCS is set.

On two cores a system of five apps handles a third more requests per second than with five sidecars
that each use both cores (docs/explanation/performance.md).
"""

GARBAGE_PERCENT = 400
"""A sidecar collects garbage when its heap is five times what is in use, unless GOGC is set.

At Go's own 100 percent a busy sidecar spends a seventh of its CPU time on it, for a heap of some
20 MiB (docs/adr/0076-sidecars-collect-garbage-later.md).
"""

TRACING = "dapr/tracing.yaml"
"""An additional Configuration, with which a sidecar continues incoming traces."""

NAME_SECONDS = 30
NAME_MARGIN_SECONDS = 15
NAME_LOCK_SECONDS = 10
"""A sidecar's name stays valid for NAME_SECONDS after the sidecar wrote it. The sidecar renews it
NAME_MARGIN_SECONDS before that, and waits up to NAME_LOCK_SECONDS for other writers.

With the defaults (5, 1 and 2), reads fail on a machine that is busy for a second. A sidecar that
waits longer than 2 s at startup runs on without ever being found (ADR 4). A stale name does no
harm, because ports stay the same over restarts.
"""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The ports of one sidecar and its app; an app_port of None means that there is no app."""

    app_id: str
    http_port: int
    grpc_port: int
    internal_port: int
    app_port: int | None


def command(daprd: Path, app: App, sidecar: Sidecar, resources: Sequence[Path], configs: Sequence[Path]) -> list[str]:
    """Build the command line; every port is bound to the loopback interface."""
    words = [
        str(daprd),
        *("--app-id", sidecar.app_id),
        *("--dapr-http-port", str(sidecar.http_port)),
        *("--dapr-grpc-port", str(sidecar.grpc_port)),
        *("--dapr-listen-addresses", "127.0.0.1"),
        *("--dapr-internal-grpc-port", str(sidecar.internal_port)),
        *("--dapr-internal-grpc-listen-address", "127.0.0.1"),
        *("--dapr-graceful-shutdown-seconds", str(SHUTDOWN_SECONDS)),
        *("--log-level", app.log_level),
        "--enable-metrics=false",
    ]
    if sidecar.app_port is not None:
        words += [
            *("--app-port", str(sidecar.app_port)),
            *("--app-protocol", "http"),
            *("--app-channel-address", "127.0.0.1"),
        ]
    for folder in resources:
        words += ["--resources-path", str(folder)]
    for config in configs:
        words += ["--config", str(config)]
    return words


def environment(tokens: Mapping[str, str], read: Mapping[str, str], pod_name: str, name: str) -> dict[str, str]:
    """Build the environment: tokens, the variables of the components, and the own address."""
    return {
        "GOMAXPROCS": os.environ.get("GOMAXPROCS") or str(max(1, (os.cpu_count() or 1) // CORES_PER_SIDECAR_CORE)),
        "GOGC": os.environ.get("GOGC") or str(GARBAGE_PERCENT),
        **plain_environment(),
        **_traced(traced_environment(), name),
        **tokens,
        **read,
        "POD_NAME": pod_name,
        "DAPR_HOST_IP": "127.0.0.1",
    }


def _traced(values: Mapping[str, str], name: str) -> dict[str, str]:
    """Return a sidecar's tracing settings; daprd reads scheme and protocol separately."""
    if not values:
        return {}
    address = values[ENDPOINT].rstrip("/")
    insecure = {"OTEL_EXPORTER_OTLP_INSECURE": "true"} if address.startswith("http://") else {}
    protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **insecure}
    return {**values, ENDPOINT: address, **protocol, "OTEL_SERVICE_NAME": name}


def write_name_resolution(config: Path, database: Path) -> None:
    """Create the name database, and a second Configuration that makes sidecars use it."""
    with closing(sqlite3.connect(database)) as connection:
        # stored in the file, so that no sidecar has to lock it to set the mode
        connection.execute("PRAGMA journal_mode = WAL")
    _write(
        config,
        "sqlite",
        {
            # Sidecars rewrite a lost name, and waiting for the disk would only delay the other
            # sidecars.
            "connectionString": f"file:{quote(str(database))}?_pragma=synchronous(OFF)",
            "updateInterval": f"{NAME_SECONDS}s",
            "timeout": f"{NAME_MARGIN_SECONDS}s",
            "busyTimeout": f"{NAME_LOCK_SECONDS}s",
            # Never: the hourly cleanup removes fresh names, and their sidecars die (ADR 4).
            "cleanupInterval": "0s",
        },
    )


def write_mdns(config: Path) -> None:
    """Write a second Configuration for a sidecar that supports only the network's resolver."""
    _write(config, "mdns", {})


def _write(config: Path, component: str, settings: Mapping[str, str]) -> None:
    # This Configuration goes before dapr/config.yaml, whose settings are meant for `dapr run`.
    resolution = {"component": component, "version": "v1", "configuration": dict(settings)}
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "names"},
        "spec": {"nameResolution": resolution},
    }
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
