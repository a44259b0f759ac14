"""The states of the workloads on a cluster, read from its objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.kubectl import Kubectl

SELECTOR = f"{names.PART_LABEL}={names.PROJECT}"
"""Selects all objects of the system."""
KINDS = "statefulset,deployment"
BROKEN = (
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
)
"""Reasons of a waiting container that time alone does not end."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One container of a pod."""

    name: str
    is_ready: bool
    restarts: int
    waits_for: str
    """Why it does not run; empty if it runs."""
    message: str
    ended_by: str
    """Why it ended the last time, such as OOMKilled or exit code 1; empty if it never did."""
    has_run: bool


@dataclass(frozen=True, slots=True)
class PodState:
    """One pod."""

    name: str
    uid: str
    """Differs from that of a pod with the same name before or after it."""
    phase: str
    containers: tuple[ContainerState, ...]
    is_ending: bool

    @property
    def restarts(self) -> int:
        """How often its containers were restarted."""
        return sum(each.restarts for each in self.containers)

    @property
    def ready(self) -> str:
        """The number of ready containers, and of all."""
        return f"{sum(each.is_ready for each in self.containers)}/{len(self.containers)}"

    @property
    def is_ready(self) -> bool:
        """Whether all its containers are ready."""
        return bool(self.containers) and all(each.is_ready for each in self.containers) and not self.is_ending

    @property
    def ends(self) -> list[str]:
        """Why its containers ended the last time."""
        return [f"{each.name}: {each.ended_by}" for each in self.containers if each.restarts and each.ended_by]

    @property
    def problem(self) -> str:
        """Why it is not ready, in a few words; empty if it is."""
        if self.is_ready:
            return ""
        if self.is_ending:
            return "ending"
        reasons = [f"{each.name}: {each.waits_for}" for each in self.containers if each.waits_for]
        slow = [f"{each.name} is not ready" for each in self.containers if not each.is_ready]
        return ", ".join(reasons or slow) or self.phase.lower()

    @property
    def is_broken(self) -> bool:
        """Whether it waits for something that time alone does not bring."""
        return any(each.waits_for in BROKEN for each in self.containers)


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """One StatefulSet or Deployment."""

    kind: str
    name: str
    component: str
    """Its kind in the system: gateway, service, server or trial."""
    wanted: int
    is_current: bool
    """Whether all its pods are of its newest template."""
    ready: int
    conditions: tuple[str, ...]
    """The failures that its controller reports, such as a refused pod."""
    pods: tuple[PodState, ...]

    @property
    def target(self) -> str:
        """Its name, as kubectl wants it."""
        return f"{self.kind.lower()}/{self.name}"

    @property
    def is_ready(self) -> bool:
        """Whether all its pods are of its newest template, and ready."""
        return self.is_current and self.ready == self.wanted

    @property
    def state(self) -> str:
        """Its state in a few words."""
        counts = f"{self.ready}/{self.wanted} ready"
        problems = [each.problem for each in self.pods if each.problem] or list(self.conditions)
        return counts if self.is_ready or not problems else f"{counts} ({'; '.join(dict.fromkeys(problems))})"

    @property
    def restarts(self) -> int:
        """How often the containers of its pods were restarted."""
        return sum(each.restarts for each in self.pods)


def read(kubectl: Kubectl) -> list[WorkloadState]:
    """Return the workloads of the system in a namespace; none if it does not exist."""
    return from_objects(kubectl.get(f"{KINDS},pod", "-l", SELECTOR)["items"])


def from_objects(found: Sequence[dict[str, Any]]) -> list[WorkloadState]:
    """Return the workloads among these objects, with their pods."""
    pods = [each for each in found if each["kind"] == "Pod"]
    return [_workload(each, pods) for each in found if each["kind"] != "Pod"]


def _workload(found: dict[str, Any], pods: Iterable[dict[str, Any]]) -> WorkloadState:
    metadata, spec, status = found["metadata"], found["spec"], found.get("status", {})
    name, wanted = str(metadata["name"]), int(spec.get("replicas", 1))
    own = [each for each in pods if each["metadata"].get("labels", {}).get(names.NAME_LABEL) == name]
    is_current = (
        status.get("observedGeneration", 0) >= metadata.get("generation", 0)
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
    )
    failures = (each for each in status.get("conditions", []) if each["type"] == "ReplicaFailure")
    return WorkloadState(
        str(found["kind"]),
        name,
        str(metadata.get("labels", {}).get(names.KIND_LABEL, "")),
        wanted,
        is_current,
        int(status.get("readyReplicas", 0)),
        tuple(str(each.get("message", "")) for each in failures if each.get("status") == "True"),
        tuple(_pod(each) for each in own),
    )


def _pod(found: dict[str, Any]) -> PodState:
    return PodState(
        str(found["metadata"]["name"]),
        str(found["metadata"].get("uid", "")),
        str(found.get("status", {}).get("phase", "Unknown")),
        tuple(_containers(found)),
        "deletionTimestamp" in found["metadata"],
    )


def _containers(pod: dict[str, Any]) -> Iterator[ContainerState]:
    """Yield the containers of a pod, the native sidecars too."""
    status = pod.get("status", {})
    every = (*status.get("containerStatuses", []), *status.get("initContainerStatuses", []))
    known = {each["name"]: each for each in every}
    for spec in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
        one = known.get(spec["name"], {})
        waiting = one.get("state", {}).get("waiting", {})
        ended = one.get("state", {}).get("terminated", {}) or one.get("lastState", {}).get("terminated", {})
        yield ContainerState(
            spec["name"],
            bool(one.get("ready", False)),
            int(one.get("restartCount", 0)),
            str(waiting.get("reason", "")),
            str(waiting.get("message", "")),
            _end(ended),
            bool(one.get("containerID")),
        )


def _end(ended: dict[str, Any]) -> str:
    if not ended:
        return ""
    reason = str(ended.get("reason", ""))
    return reason if reason not in ("", "Error") else f"exit code {ended.get('exitCode', '?')}"
