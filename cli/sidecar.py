"""The command line and the environment of one sidecar."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import yaml

from cli.environment import ENDPOINT, plain_environment, traced_environment
from cli.project import ROOT, App

SHUTDOWN_SECONDS = 5
"""How long a sidecar may finish what it holds when it is stopped; what it does not finish is delivered again."""

CORES_PER_SIDECAR_CORE = 4
"""A sidecar runs on a fourth of the cores, unless GOMAXPROCS says otherwise.

With two cores, held orders are a third more a second than with five sidecars that each use both (docs/performance.md).
"""

TRACING = ROOT / "dapr" / "tracing.yaml"
"""A further Configuration: a sidecar goes on with the traces that it is told of."""

NAME_SECONDS = 30
NAME_MARGIN_SECONDS = 15
NAME_LOCK_SECONDS = 10
"""A sidecar is found for so long after it last wrote its name, writes it again so long before that ends, and waits so
long for the others' writes.

With the defaults (5, 1 and 2) a machine that is busy for a second is enough for reads to fail, and a sidecar that waits
for longer than 2 s at its start runs on without ever being found (ADR 4). An old name does no harm, for ports are kept
over restarts.
"""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The ports of one sidecar, and of the app that it serves (None: it only publishes and invokes)."""

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


def environment(tokens: Mapping[str, str], servers: Mapping[str, str], pod_name: str, name: str) -> dict[str, str]:
    """Build the environment: tokens, what components read by envRef, and the address that others reach it at."""
    return {
        "GOMAXPROCS": os.environ.get("GOMAXPROCS") or str(max(1, (os.cpu_count() or 1) // CORES_PER_SIDECAR_CORE)),
        **plain_environment(),
        **_traced(traced_environment(), name),
        **tokens,
        **servers,
        "POD_NAME": pod_name,
        "DAPR_HOST_IP": "127.0.0.1",
    }


def _traced(values: Mapping[str, str], name: str) -> dict[str, str]:
    """What a sidecar has to know of where traces go, and its name there: it reads scheme and protocol by themselves."""
    if not values:
        return {}
    address = values[ENDPOINT].rstrip("/")
    insecure = {"OTEL_EXPORTER_OTLP_INSECURE": "true"} if address.startswith("http://") else {}
    protocol = {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", **insecure}
    return {**values, ENDPOINT: address, **protocol, "OTEL_SERVICE_NAME": name}


def write_name_resolution(config: Path, database: Path) -> None:
    """Make the database, and a second Configuration that tells a shop's sidecars to find each other by it."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # is kept in the file: no sidecar has to lock it for that
    _write(
        config,
        "sqlite",
        {
            # A lost name is written again: waiting for the disk would only hold up the others.
            "connectionString": f"file:{quote(str(database))}?_pragma=synchronous(OFF)",
            "updateInterval": f"{NAME_SECONDS}s",
            "timeout": f"{NAME_MARGIN_SECONDS}s",
            "busyTimeout": f"{NAME_LOCK_SECONDS}s",
            # Never: the hourly cleanup removes names that are fresh; their sidecars die (ADR 4).
            "cleanupInterval": "0s",
        },
    )


def write_mdns(config: Path) -> None:
    """Write a second Configuration for a sidecar that has no other resolver than the network's."""
    _write(config, "mdns", {})


def _write(config: Path, component: str, settings: Mapping[str, str]) -> None:
    # It goes before that of dapr/config.yaml, which is for `dapr run`.
    resolution = {"component": component, "version": "v1", "configuration": dict(settings)}
    document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": "names"},
        "spec": {"nameResolution": resolution},
    }
    config.write_text(yaml.safe_dump(document), encoding="utf-8")
