"""The trimmer of the streams, which only Redis needs (ADR 70)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sidecart.kubernetes import keeper, names, network
from sidecart.kubernetes.documents import Document, text
from sidecart.kubernetes.pods import resources
from sidecart.launcher.servers.brokers import VALKEY
from sidecart.launcher.servers.trimmer import LOOK_SECONDS
from sidecart.launcher.streams import RETENTION, RETENTION_SECONDS

BROKER = "redis"
ALIVE = Path("/tmp/trimmed")
LATE_SECONDS = 12 * int(LOOK_SECONDS)
"""A first look may remove a million entries."""
REASONS = {
    **keeper.REASONS,
    "- name: STREAM_RETENTION_SECONDS": "How long a stream keeps an event that every group has acknowledged.",
}


def trimmer_file() -> str:
    """Return the file of the trimmer."""
    head = (
        "Removes the events that every group has acknowledged and that are old enough "
        "(docs/adr/0070-streams-are-trimmed.md). Its login may neither publish nor read as a consumer."
    )
    return text(head, _trimmer(), REASONS)


def _trimmer() -> Iterator[Document]:
    container = {
        "name": "trimmer",
        **keeper.program(VALKEY.trimmer_module, [f"--alive={ALIVE}"]),
        "ports": [{"name": "metrics", "containerPort": names.METRICS_PORT}],
        "env": _environment(),
        **keeper.probes(keeper.alive_script(ALIVE, LATE_SECONDS)),
        "resources": resources("10m", "64Mi", "500m", "128Mi"),
        **keeper.CONFINED,
    }
    yield from keeper.deployment(names.TRIMMER, names.TRIMMER_KIND, container, has_token=False)
    yield from network.flow(
        f"{BROKER}-{names.TRIMMER}",
        network.pods_of(names.TRIMMER),
        network.pods_of(BROKER),
        [names.SERVER_PORTS[BROKER]],
    )


def _environment() -> list[dict[str, Any]]:
    secret = names.servers_of(names.TRIMMER)
    fixed = {
        RETENTION: str(RETENTION_SECONDS),
        "METRICS_HOST": "0.0.0.0",
        "METRICS_PORT": str(names.METRICS_PORT),
    }
    return [
        *({"name": name, "value": value} for name, value in fixed.items()),
        *(
            {"name": each, "valueFrom": {"secretKeyRef": {"name": secret, "key": each}}}
            for each in VALKEY.variables("")
        ),
    ]
