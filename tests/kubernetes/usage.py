"""The memory and the CPU time of the containers, as the kubelets measure them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sidecart.kubernetes import names
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topology import app_for_sidecar, app_of
from tests.kubernetes.containers import APP, SIDECAR
from tests.kubernetes.results import kept
from tests.kubernetes.shop import KubernetesShop

MIB = 1024 * 1024
UNITS = {"Mi": MIB, "Gi": 1024 * MIB, "Ki": 1024}


@dataclass(frozen=True, slots=True)
class Usage:
    """One container."""

    app: str
    container: str
    measured_at: str
    memory_bytes: int
    cpu_seconds: float
    """Since the start of the container."""
    memory_request: str
    memory_limit: str
    cpu_request: str
    cpu_limit: str

    @property
    def memory_limit_bytes(self) -> int:
        """The limit; the container ends when it uses more."""
        number, unit = self.memory_limit[:-2], self.memory_limit[-2:]
        return int(number) * UNITS[unit]


@dataclass(frozen=True, slots=True)
class Result:
    """The cost of some orders on a cluster, and on the launcher."""

    overlay: str
    seconds_to_answer: float
    """From the apply to the first 201."""
    orders: int
    spent: dict[str, float]
    """CPU seconds of the orders on the cluster by `app container`."""
    launcher: dict[str, float]
    """CPU seconds of as many orders on the launcher by process."""
    containers: list[Usage]


def measure(shop: KubernetesShop) -> list[Usage]:
    """Return the use of each container of the shop that runs; each app has one replica."""
    known = {}
    for pod in shop.kubectl.get("pods")["items"]:
        app = pod["metadata"]["labels"][names.NAME_LABEL]
        for each in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            known[pod["metadata"]["name"], each["name"]] = app, each["resources"]
    found = []
    for node in shop.cluster.get("nodes")["items"]:
        path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary"
        for pod in json.loads(shop.cluster("get", "--raw", path))["pods"]:
            if pod["podRef"]["namespace"] != names.NAMESPACE:
                continue
            for each in pod["containers"]:
                key = pod["podRef"]["name"], each["name"]
                if key in known and "memory" in each and "cpu" in each:
                    found.append(_usage(*known[key], each))
    return sorted(found, key=lambda one: (one.app, one.container))


def measure_again(shop: KubernetesShop) -> list[Usage]:
    """Return the use at a moment from now on: the kubelets measure every some seconds."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: list[Usage] = []

    def is_newer() -> bool:
        found[:] = measure(shop)
        return all(one.measured_at > now for one in found)

    shop.until(is_newer, "a new measurement of every container")
    return found


def _usage(app: str, resources: dict[str, dict[str, str]], stats: dict[str, Any]) -> Usage:
    requests, limits = resources["requests"], resources["limits"]
    return Usage(
        app,
        str(stats["name"]),
        str(stats["cpu"]["time"]),
        int(stats["memory"].get("workingSetBytes", 0)),
        stats["cpu"].get("usageCoreNanoSeconds", 0) / 1e9,
        requests["memory"],
        limits["memory"],
        requests["cpu"],
        limits["cpu"],
    )


def spent(before: Sequence[Usage], after: Sequence[Usage]) -> dict[str, float]:
    """Return the CPU seconds between two measurements by `app container`."""
    at_first = {(one.app, one.container): one.cpu_seconds for one in before}
    return {f"{one.app} {one.container}": one.cpu_seconds - at_first[one.app, one.container] for one in after}


def table(result: Result) -> str:
    """Return one Markdown row for each container, and one for all."""
    lines = [
        f"{result.overlay}: {result.orders} orders; "
        f"the first 201 came {result.seconds_to_answer:.0f} s after the apply.",
        "",
        "| container | memory used | request | limit | CPU for an order (ms) | the launcher's | request | limit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    launcher = _by_container(result.launcher)
    for one in result.containers:
        name = f"{one.app} {one.container}"
        own = f"{_each(launcher[name], result):.2f}" if name in launcher else ""
        lines.append(
            f"| {one.app}, {one.container} | {one.memory_bytes / MIB:.0f} MiB | {one.memory_request} "
            f"| {one.memory_limit} | {_each(result.spent[name], result):.2f} | {own} "
            f"| {one.cpu_request} | {one.cpu_limit} |"
        )
    both = {"cluster": sum(result.spent.values()), "launcher": sum(result.launcher.values())}
    here, there = (_each(each, result) for each in both.values())
    lines.append(f"| all | | | | {here:.2f} | {there:.2f} | | |")
    return "\n".join(lines)


def _by_container(processes: Mapping[str, float]) -> dict[str, float]:
    """Return the CPU seconds of the launcher's processes by the names of a cluster."""
    known = {each.names[0]: f"{kind} server" for kind, each in [*BROKERS.items(), *STORES.items()]}
    known |= {each: f"{each} {each}" for each in (names.ISSUER, names.MAIL)}
    found: dict[str, float] = defaultdict(float)
    for name, seconds in processes.items():
        replica = app_for_sidecar(name)
        found[known.get(name) or f"{app_of(replica or name)} {SIDECAR if replica else APP}"] += seconds
    return found


def _each(seconds: float, result: Result) -> float:
    return 1000 * seconds / result.orders


def read(pattern: str, folder: Path) -> list[Result]:
    """Return the kept results of the files that match."""
    return [
        Result(**{**each, "containers": [Usage(**one) for one in each["containers"]]}) for each in kept(pattern, folder)
    ]
