"""The faults of a cluster: pods, containers, memory, evictions and nodes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_for_sidecar, app_of
from sidecart.testkit.faults.injector import Harm, Undo
from sidecart.testkit.faults.schedule import Kind
from tests.kubernetes import containers
from tests.kubernetes.shop import KubernetesShop

DRAIN_SECONDS = 120
RETRY_SECONDS, BACK_SECONDS = 0.5, 30.0
"""A target that an earlier fault ended is harmed once it is back, and must be within this time."""
FIRST_KILLED = 1_000
"""The value of oom_score_adj by which the kernel chooses a process first."""
TOO_MUCH = "found = [b'x' * 2**20 for _ in range(2**10)]"
"""A gigabyte: more than the limit of any app."""
SERVERS = {server.names[0]: name for name, server in {**BROKERS, **STORES}.items()}
"""The names of the workloads, by the name of the launcher's process."""


class Harms:
    """Injects faults into one shop; targets have the names of the launcher's processes."""

    def __init__(self, shop: KubernetesShop) -> None:
        self._shop = shop

    def by_kind(self) -> Mapping[Kind, Harm]:
        """Return the function for each kind of fault."""
        every: Mapping[Kind, Harm] = {
            "pod-kill": self._kill_pod,
            "container-kill": self._kill_container,
            "out-of-memory": self._fill_memory,
            "eviction": self._evict,
            "drain": self._drain,
        }
        return {kind: partial(self._once_back, harm) for kind, harm in every.items()}

    def _once_back(self, harm: Harm, target: str) -> Undo | None:
        end = time.monotonic() + BACK_SECONDS
        while True:
            try:
                return harm(target)
            except OSError:
                if time.monotonic() > end:
                    raise
            self._shop.deadline.pause(RETRY_SECONDS)

    def _pod(self, target: str) -> dict[str, Any]:
        """Return the running pod of a target; raise OSError without one."""
        replica = app_for_sidecar(target) or target
        name = SERVERS.get(app_of(replica), app_of(replica))
        number = replica.removeprefix(app_of(replica)).removeprefix("-")
        try:
            found = [each for each in self._shop.pods(name) if "deletionTimestamp" not in each["metadata"]]
        except RuntimeError as error:
            raise OSError(str(error)) from error
        if name == GATEWAY:
            found = [each for each in found if each["metadata"]["name"] == f"{GATEWAY}-{number or 0}"]
        if not found:
            raise OSError("no pod runs")
        return found[min(int(number or 0), len(found) - 1)] if name != GATEWAY else found[0]

    def _kubectl(self, *words: str, stdin: str = "") -> None:
        try:
            self._shop.kubectl(*words, stdin=stdin)
        except RuntimeError as error:
            raise OSError(str(error)[-300:]) from error

    def _kill_pod(self, target: str) -> None:
        """Kill it after a second: a forced deletion would start a second server beside it."""
        name = self._pod(target)["metadata"]["name"]
        self._kubectl("delete", "pod", name, "--grace-period=1", "--wait=false")

    def _kill_container(self, target: str) -> None:
        for pid in self._pids(target):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _fill_memory(self, target: str) -> None:
        """Let the kernel kill the app at the limit of its container."""
        pod = self._pod(target)["metadata"]["name"]
        for pid in self._pids(target):
            Path(f"/proc/{pid}/oom_score_adj").write_text(str(FIRST_KILLED), encoding="ascii")
        try:
            self._shop.kubectl("exec", pod, "-c", containers.APP, "--", "python", "-c", TOO_MUCH)
        except RuntimeError:
            return  # it dies with the app
        raise OSError("the limit did not hold")

    def _evict(self, target: str) -> None:
        pod = self._pod(target)["metadata"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod["name"], "namespace": pod["namespace"]},
        }
        path = f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/eviction"
        self._kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))

    def _drain(self, target: str) -> Undo:
        words = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={DRAIN_SECONDS}s")
        self._kubectl("drain", target, *words)
        return partial(self._kubectl, "uncordon", target)

    def _pids(self, target: str) -> list[int]:
        container = containers.SIDECAR if app_for_sidecar(target) else containers.APP
        return containers.processes(self._pod(target), containers.SERVER if target in SERVERS else container)
