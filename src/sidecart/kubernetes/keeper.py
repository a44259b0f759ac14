"""The keeper: a process that removes what gateways that were scaled in left at the broker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.documents import Document, document, text
from sidecart.kubernetes.pods import UID, confined, resources, restricted, scratch
from sidecart.kubernetes.workloads import REASONS as WORKLOAD_REASONS
from sidecart.kubernetes.workloads import disruption_budget
from sidecart.launcher.servers.gone_gateways import ALIVE, LOOK_SECONDS
from sidecart.launcher.servers.registry import ENVIRONMENT
from sidecart.launcher.topics import GATEWAY

MODULE = "sidecart.launcher.servers.gone_gateways"
LATE_SECONDS = 6 * int(LOOK_SECONDS)
ALIVE_SCRIPT = f"import os, time; assert time.time() - os.path.getmtime('{ALIVE}') < {LATE_SECONDS}"
"""Succeeds while the program looks at the broker, or tries to: it listens on no port."""

REASONS = {
    "automountServiceAccountToken:": "The program does not call the API server.",
    "resources:": "Estimates, not measured in a cluster.",
    "type: Recreate": "One is enough.",
    **WORKLOAD_REASONS,
}


def keeper_file() -> str:
    """Return the file of the keeper."""
    head = f"Removes the consumer groups and queues of a {GATEWAY} that was scaled in, ten minutes after it has gone."
    return text(head, _keeper(), REASONS)


def _keeper() -> Iterator[Document]:
    labels = names.labels(names.KEEPER, names.KEEPER_KIND)
    pod = {
        "serviceAccountName": names.KEEPER,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted(UID),
        "containers": [_container()],
        "volumes": scratch("tmp"),
    }
    yield document("ServiceAccount", names.KEEPER, automountServiceAccountToken=False)
    yield document(
        "Deployment",
        names.KEEPER,
        "apps/v1",
        labels=labels,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names.selector(names.KEEPER)},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )
    yield disruption_budget(names.KEEPER)


def _container() -> dict[str, Any]:
    secret = names.servers_of(names.KEEPER)
    probe = {"exec": {"command": ["python", "-c", ALIVE_SCRIPT]}, "timeoutSeconds": 10}
    return {
        "name": "keeper",
        "image": names.app_image(),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", MODULE],
        "env": [{"name": each, "valueFrom": {"secretKeyRef": {"name": secret, "key": each}}} for each in ENVIRONMENT],
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**probe, "periodSeconds": 60},
        "readinessProbe": {**probe, "periodSeconds": 60},
        "resources": resources("10m", "48Mi", "200m", "128Mi"),
        "securityContext": confined(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
