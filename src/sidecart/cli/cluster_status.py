"""`sidecart status --kubernetes`: the workloads and pods of the system on a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator

from sidecart.cli.cluster import system_on
from sidecart.kubernetes import names
from sidecart.kubernetes import status as cluster_status
from sidecart.kubernetes.forwards import Forwards
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.kubernetes.status import Status
from sidecart.launcher.deadline import Deadline


def show(context: str, as_json: bool) -> int:
    """Print the status of the system on a cluster.

    Return 1 if a workload or the gateway is not ready.
    """
    cluster = system_on(context)
    with Forwards(cluster, Deadline()) as forwards:
        found = cluster_status.read(cluster, forwards)
    if as_json:
        print(json.dumps(_as_object(cluster, found)))
    else:
        for line in _lines(cluster, found):
            print(line)
    return 0 if found.is_ready else 1


def _as_object(cluster: Kubectl, found: Status) -> dict[str, object]:
    workloads = [
        {
            "kind": each.kind,
            "name": each.name,
            "wanted": each.wanted,
            "ready": each.ready,
            "is_current": each.is_current,
            "restarts": each.restarts,
            "state": each.state,
            "pods": [
                {
                    "name": pod.name,
                    "ready": pod.is_ready,
                    "restarts": pod.restarts,
                    "ends": pod.ends,
                    "state": pod.problem,
                }
                for pod in each.pods
            ],
        }
        for each in found.workloads
    ]
    return {
        "state": "ready" if found.is_ready else "not ready",
        "context": cluster.context,
        "namespace": names.NAMESPACE,
        "gateway": found.gateway,
        "workloads": workloads,
        "waiting": dict(found.waiting),
        "unread": found.unread or None,
    }


def _lines(cluster: Kubectl, found: Status) -> Iterator[str]:
    yield f"cluster {cluster.context}, namespace {names.NAMESPACE}"
    yield ""
    yield f"{'workload':14} {'pod':36} {'ready':>5} {'restarts':>8}  state"
    for each in found.workloads:
        if not each.pods:
            yield f"{each.name:14} {'':36} {f'0/{each.wanted}':>5} {0:8}  {each.state}"
        for pod in each.pods:
            state = "; ".join([pod.problem or "ready", *pod.ends])
            yield f"{each.name:14} {pod.name:36} {pod.ready:>5} {pod.restarts:8}  {state}"
    yield ""
    yield f"gateway: {found.gateway}"
    if found.unread:
        yield f"waiting events: unknown ({found.unread})"
    elif found.waiting:
        yield f"waiting events: {', '.join(f'{consumer} {number}' for consumer, number in found.waiting.items())}"
