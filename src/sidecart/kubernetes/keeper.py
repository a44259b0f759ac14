"""The keepers: one removes what gateways that were scaled in left at the broker, the other evicts
pods whose sidecars read incorrectly from RabbitMQ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sidecart.kubernetes import names, network
from sidecart.kubernetes.documents import Document, document, text
from sidecart.kubernetes.kustomizations import APP_SELECTOR
from sidecart.kubernetes.pods import UID, confined, resources, restricted, scratch
from sidecart.kubernetes.workloads import REASONS as WORKLOAD_REASONS
from sidecart.kubernetes.workloads import disruption_budget
from sidecart.launcher.servers.gone_gateways import ALIVE, LOOK_SECONDS
from sidecart.launcher.servers.registry import ENVIRONMENT
from sidecart.launcher.topics import GATEWAY

MODULE, READER_MODULE = (f"sidecart.launcher.servers.{each}" for each in ("gone_gateways", "rabbitmq_pod_keeper"))
"""The programs."""
LATE_SECONDS = 6 * int(LOOK_SECONDS)
"""A keeper listens on no port, so a probe sees only that it looks at the broker, or tries to."""
CONFINED = {"securityContext": confined(), "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}
APPS = f"{names.PART_LABEL}={names.PROJECT},{APP_SELECTOR}"
"""Selects the pods of all apps."""
API_PORTS = (443, 6443, 8443, 16443)
"""The ports of API servers (kubeadm, minikube, MicroK8s); a policy sees them, not the Service's."""
RBAC_API = "rbac.authorization.k8s.io"

REASONS = {
    "automountServiceAccountToken: false": "The program does not call the API server.",
    "automountServiceAccountToken: true": "The program lists pods and evicts them.",
    "requests:": "Estimates, not measured in a cluster.",
    "type: Recreate": "One is enough.",
    **WORKLOAD_REASONS,
}


def keeper_file() -> str:
    """Return the file of the keeper."""
    head = f"Removes the consumer groups and queues of a {GATEWAY} that was scaled in, ten minutes after it has gone."
    return text(head, _keeper(names.KEEPER, MODULE, [], has_token=False), REASONS)


def reader_keeper_file() -> str:
    """Return the file of the keeper that RabbitMQ needs."""
    head = (
        "A sidecar whose connection to RabbitMQ broke can return with a missing or an extra consumer, and events for "
        "an extra one wait (docs/adr/0068-pods-that-read-incorrectly.md). This evicts its pod."
    )
    return text(head, _reader_keeper(), REASONS)


def _reader_keeper() -> Iterator[Document]:
    name = names.READER_KEEPER
    arguments = [f"--selector={APPS}", f"--app-label={names.NAME_LABEL}"]
    yield from _keeper(name, READER_MODULE, arguments, has_token=True)
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
    ]
    yield document("Role", name, f"{RBAC_API}/v1", rules=rules)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": names.NAMESPACE}
    role = {"apiGroup": RBAC_API, "kind": "Role", "name": name}
    yield document("RoleBinding", name, f"{RBAC_API}/v1", subjects=[subject], roleRef=role)
    anywhere = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]
    yield network.policy(
        f"{name}-api-server", network.pods_of(name), egress=[{"to": anywhere, "ports": network.ports(*API_PORTS)}]
    )


def _keeper(name: str, module: str, arguments: list[str], *, has_token: bool) -> Iterator[Document]:
    secret = names.servers_of(names.KEEPER)
    container = {
        "name": "keeper",
        **program(module, arguments),
        "env": [{"name": each, "valueFrom": {"secretKeyRef": {"name": secret, "key": each}}} for each in ENVIRONMENT],
        **probes(alive_script(ALIVE, LATE_SECONDS)),
        "resources": resources("10m", "48Mi", "200m", "128Mi"),
        **CONFINED,
    }
    yield from deployment(name, names.KEEPER_KIND, container, has_token=has_token)


def deployment(name: str, kind: str, container: Mapping[str, Any], *, has_token: bool) -> Iterator[Document]:
    """Return the objects of a program with one replica, which no Service selects."""
    labels = names.labels(name, kind)
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": has_token,
        "enableServiceLinks": False,
        "securityContext": restricted(UID),
        "containers": [dict(container)],
        "volumes": scratch("tmp"),
    }
    yield document("ServiceAccount", name, automountServiceAccountToken=has_token)
    yield document(
        "Deployment",
        name,
        "apps/v1",
        labels=labels,
        spec={
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": names.selector(name)},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )
    yield disruption_budget(name)


def program(module: str, arguments: list[str]) -> dict[str, Any]:
    """Return the fields of a container that say which module of the image it runs."""
    return {
        "image": names.app_image(),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        **({"args": arguments} if arguments else {}),
    }


def alive_script(file: Path, late_seconds: int) -> str:
    """Return a script that succeeds while a program touches a file often enough."""
    return f"import os, time; assert time.time() - os.path.getmtime('{file}') < {late_seconds}"


def probes(script: str) -> dict[str, Any]:
    """Return the three probes of a container that run a script."""
    probe = {"exec": {"command": ["python", "-c", script]}, "timeoutSeconds": 10}
    return {
        "startupProbe": {**probe, "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**probe, "periodSeconds": 60},
        "readinessProbe": {**probe, "periodSeconds": 60},
    }
