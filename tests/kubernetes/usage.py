"""The memory and the CPU time of the containers, as the kubelets measure them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sidecart.kubernetes import names
from tests.kubernetes.shop import KubernetesShop

MIB = 1024 * 1024
UNITS = {"Mi": MIB, "Gi": 1024 * MIB, "Ki": 1024}


@dataclass(frozen=True, slots=True)
class Usage:
    """One container."""

    pod: str
    container: str
    memory_bytes: int
    cpu_seconds: float
    memory_request: str
    memory_limit: str
    cpu_request: str
    cpu_limit: str

    @property
    def memory_limit_bytes(self) -> int:
        """The limit; the container ends when it uses more."""
        number, unit = self.memory_limit[:-2], self.memory_limit[-2:]
        return int(number) * UNITS[unit]


def measure(shop: KubernetesShop) -> list[Usage]:
    """Return the use of each container of the shop that runs."""
    limits = {}
    for pod in shop.kubectl.get("pods")["items"]:
        for each in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            limits[pod["metadata"]["name"], each["name"]] = each.get("resources", {})
    found = []
    for node in shop.cluster.get("nodes")["items"]:
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        for pod in json.loads(shop.cluster("get", "--raw", path))["pods"]:
            if pod["podRef"]["namespace"] != names.NAMESPACE:
                continue
            for each in pod["containers"]:
                known = limits.get((pod["podRef"]["name"], each["name"]))
                if known and "memory" in each and "cpu" in each:
                    found.append(_usage(pod["podRef"]["name"], each, known["requests"], known["limits"]))
    return sorted(found, key=lambda one: (one.pod, one.container))


def _usage(pod: str, stats: dict[str, dict[str, int]], requests: dict[str, str], limits: dict[str, str]) -> Usage:
    return Usage(
        pod,
        str(stats["name"]),
        stats["memory"].get("workingSetBytes", 0),
        stats["cpu"].get("usageCoreNanoSeconds", 0) / 1e9,
        requests["memory"],
        limits["memory"],
        requests["cpu"],
        limits["cpu"],
    )


def table(found: Sequence[Usage]) -> str:
    """Return one Markdown row for each container."""
    lines = [
        "| pod, container | memory used | request | limit | CPU used (s) | request | limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        used = f"{one.memory_bytes / MIB:.0f} MiB"
        lines.append(
            f"| {one.pod}, {one.container} | {used} | {one.memory_request} | {one.memory_limit} "
            f"| {one.cpu_seconds:.1f} | {one.cpu_request} | {one.cpu_limit} |"
        )
    return "\n".join(lines)
