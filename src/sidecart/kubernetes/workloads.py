"""The workload of each app: a StatefulSet for the gateway, a Deployment for each service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidecart.kubernetes import names, pods
from sidecart.kubernetes.documents import Document, document, text
from sidecart.launcher.apps import App
from sidecart.launcher.topics import GATEWAY

REPLICAS = 2

REASONS = {
    "podManagementPolicy:": "The gateways do not wait for each other.",
    "unhealthyPodEvictionPolicy:": "Pods that are not ready, such as all while the store is down, do not keep a node.",
    "maxUnavailable: 1": "A drained node stops one pod at a time. It also allows a single replica to move.",
}


def app_file(app: App) -> str:
    """Return the file of one app."""
    if app.app_id == GATEWAY:
        head = "The gateway. The names of its pods (gateway-0, ...) name their consumer groups ({podName} in replies)."
        return text(head, _gateway(app), {**pods.GATEWAY_REASONS, **REASONS})
    return text(
        f"The app {app.app_id}. Its replicas share one consumer group.", _service(app), {**pods.REASONS, **REASONS}
    )


def _gateway(app: App) -> Iterator[Document]:
    yield from _identity(app.app_id)
    yield _workload(
        "StatefulSet", app, {"serviceName": names.pod_names_of(app.app_id), "podManagementPolicy": "Parallel"}
    )
    yield from services(app.app_id, {"name": "http", "port": names.APP_PORT, "targetPort": "http"})
    yield disruption_budget(app.app_id)


def services(name: str, port: Mapping[str, Any]) -> Iterator[Document]:
    """Return the Services of a StatefulSet: for its clients, and a headless one for its pods."""
    selected = names.selector(name)
    yield document("Service", name, spec={"selector": selected, "ports": [dict(port)]})
    yield document(
        "Service", names.pod_names_of(name), spec={"clusterIP": "None", "selector": selected, "ports": [dict(port)]}
    )


def _service(app: App) -> Iterator[Document]:
    port = {"name": "sidecar", "port": names.SIDECAR_INTERNAL_PORT, "targetPort": names.SIDECAR_INTERNAL_PORT}
    yield from _identity(app.app_id)
    yield document("Service", app.app_id, spec={"selector": names.selector(app.app_id), "ports": [port]})
    yield _workload("Deployment", app, {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}})
    yield disruption_budget(app.app_id)


def _workload(kind: str, app: App, own: Mapping[str, Any]) -> Document:
    """Return a workload of two replicas; `own` has the fields that only its kind has."""
    return document(
        kind,
        app.app_id,
        "apps/v1",
        labels=names.labels(app.app_id, names.kind_of(app.app_id)),
        spec={
            "replicas": REPLICAS,
            **own,
            "selector": {"matchLabels": names.selector(app.app_id)},
            "template": pods.template(app),
        },
    )


def _identity(app_id: str) -> Iterator[Document]:
    yield document("ServiceAccount", app_id, automountServiceAccountToken=False)


def disruption_budget(name: str) -> Document:
    """Return the budget of the voluntary disruptions of one workload."""
    return document(
        "PodDisruptionBudget",
        name,
        "policy/v1",
        spec={
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(name)},
        },
    )
