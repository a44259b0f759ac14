"""Why a workload does not start: the words of its controller, its events, its last log lines."""

from __future__ import annotations

from collections.abc import Iterator

from sidecart.kubernetes.kubectl import Kubectl, KubectlError
from sidecart.kubernetes.states import ContainerState, PodState, WorkloadState

LOG_LINES = 5
EVENTS_MAX = 4


def explain(kubectl: Kubectl, workload: WorkloadState) -> Iterator[str]:
    """Yield lines about a workload that is not ready."""
    yield f"{workload.target}: {workload.state}"
    for each in workload.conditions:
        yield f"  {each}"
    if not workload.pods:
        yield from _events(kubectl, workload.kind, workload.name)
    for pod in workload.pods:
        if pod.is_ready:
            continue
        yield f"  pod {pod.name}: {pod.problem}"
        yield from _events(kubectl, "Pod", pod.name)
        for container in pod.containers:
            yield from _container(kubectl, pod, container)


def _container(kubectl: Kubectl, pod: PodState, container: ContainerState) -> Iterator[str]:
    if container.is_ready:
        return
    if container.message:
        yield f"    {container.name}: {container.message}"
    if container.ended_by:
        yield f"    {container.name} ended: {container.ended_by} ({container.restarts} restarts)"
    if not container.has_run:
        return
    try:
        text = kubectl("logs", pod.name, "-c", container.name, f"--tail={LOG_LINES}")
    except KubectlError:
        return  # the container was replaced in the meantime
    for line in text.splitlines():
        yield f"    {container.name} | {line}"


def _events(kubectl: Kubectl, kind: str, name: str) -> Iterator[str]:
    """Yield the last warnings about an object."""
    selector = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
    found = kubectl.get("events", "--field-selector", selector)["items"]
    found.sort(key=lambda each: str(each.get("lastTimestamp") or each.get("eventTime") or ""))
    for each in found[-EVENTS_MAX:]:
        yield f"    event {each.get('reason', '')}: {' '.join(str(each.get('message', '')).split())}"
