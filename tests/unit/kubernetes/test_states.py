"""The states of workloads, from objects as the API server returns them."""

from __future__ import annotations

from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.states import WorkloadState, from_objects


def deployment(ready: int = 1, updated: int = 1, replicas: int = 1, generation: int = 1) -> dict[str, Any]:
    """A Deployment with one wanted pod."""
    return {
        "kind": "Deployment",
        "metadata": {"name": "order", "generation": 1, "labels": names.labels("order", names.SERVICE_KIND)},
        "spec": {"replicas": 1},
        "status": {
            "observedGeneration": generation,
            "replicas": replicas,
            "updatedReplicas": updated,
            "readyReplicas": ready,
        },
    }


def pod(app: dict[str, Any], sidecar: dict[str, Any]) -> dict[str, Any]:
    """A pod with an app and a native sidecar."""
    return {
        "kind": "Pod",
        "metadata": {"name": "order-1", "labels": names.labels("order", names.SERVICE_KIND)},
        "spec": {"containers": [{"name": "app"}], "initContainers": [{"name": "daprd"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "app", **app}],
            "initContainerStatuses": [{"name": "daprd", **sidecar}],
        },
    }


RUNS = {"ready": True, "restartCount": 0, "containerID": "containerd://1", "state": {"running": {}}}
KILLED = {
    **RUNS,
    "restartCount": 2,
    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
}
ENDED = {
    **RUNS,
    "ready": False,
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
}
NO_IMAGE = {"ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}


def state(*objects: dict[str, Any]) -> WorkloadState:
    """Return the one workload."""
    (found,) = from_objects(objects)
    return found


def test_a_workload_is_ready_with_all_pods_of_the_newest_template() -> None:
    """During a rolling update the old pods are ready, and the workload is not."""
    assert state(deployment()).is_ready
    assert not state(deployment(ready=0)).is_ready
    assert not state(deployment(updated=0)).is_ready
    assert not state(deployment(replicas=2)).is_ready
    assert not state(deployment(generation=0)).is_ready


def test_restarts_have_their_reasons() -> None:
    """A container that the kernel killed says so, and another one has its exit code."""
    (killed,) = state(deployment(), pod(KILLED, RUNS)).pods
    (ended,) = state(deployment(ready=0), pod(RUNS, ENDED)).pods

    assert (2, ["app: OOMKilled"], "") == (killed.restarts, killed.ends, killed.problem)
    assert (3, ["daprd: exit code 1"], "daprd: CrashLoopBackOff") == (ended.restarts, ended.ends, ended.problem)
    assert ("2/2", "1/2") == (killed.ready, ended.ready)


def test_a_pod_that_time_does_not_help_is_broken() -> None:
    """A missing image is; a container that crashes may still start when its broker does."""
    (without_image,) = state(deployment(ready=0), pod(NO_IMAGE, RUNS)).pods
    (crashing,) = state(deployment(ready=0), pod(ENDED, RUNS)).pods

    assert without_image.is_broken
    assert not crashing.is_broken
    assert "0/1 ready (app: ImagePullBackOff)" == state(deployment(ready=0), pod(NO_IMAGE, RUNS)).state


def test_a_refused_pod_is_named_by_its_controller() -> None:
    """Without pods, the condition of the Deployment has the reason, such as PodSecurity."""
    refused = deployment(ready=0, updated=0, replicas=0)
    message = 'pods "order-1" is forbidden: violates PodSecurity "restricted:latest"'
    refused["status"]["conditions"] = [{"type": "ReplicaFailure", "status": "True", "message": message}]

    assert f"0/1 ready ({message})" == state(refused).state


def test_a_pod_that_ends_is_not_ready() -> None:
    """It may still answer."""
    ending = pod(RUNS, RUNS)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"

    assert "ending" == state(deployment(), ending).pods[0].problem
