"""The pods of the apps: container, probes, sidecar annotations, and the security settings.

`REASONS` has the comments that the files show above these fields.
"""

from __future__ import annotations

from typing import Any

from sidecart.chassis.server.serve import STOP_SECONDS_MAX
from sidecart.kubernetes import names
from sidecart.kubernetes.dapr_resources import configuration_of
from sidecart.launcher.access_control import READY_PATH
from sidecart.launcher.apps import App, module_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import ENVIRONMENT
from sidecart.launcher.sidecar import SHUTDOWN_SECONDS
from sidecart.launcher.topics import GATEWAY

UID = 10001
"""The uid of the image (tye-or-compose/Dockerfile)."""
DRAIN_SECONDS = 5
"""How long a stopping pod still serves, until no proxy of the cluster sends it a request."""
MARGIN_SECONDS = 10
"""For the end of background work, which begins after the last response."""
GRACE_SECONDS = DRAIN_SECONDS + STOP_SECONDS_MAX + MARGIN_SECONDS + SHUTDOWN_SECONDS
START_SECONDS = 300
"""A service starts only when its probe event returns, so this covers the start of the broker."""

REASONS = {
    "dapr.io/config:": "daprd reads one Configuration on Kubernetes, so it has the access control too.",
    "dapr.io/app-token-secret:": "The key in both Secrets is `token`; the injector knows no other name.",
    "dapr.io/env-from-secret:": "The login of this app at the servers. The components read these variables (envRef).",
    "dapr.io/enable-native-sidecar:": "The sidecar starts before the app and stops after it, so a stopping app can "
    "still save and publish. It needs Kubernetes 1.29.",
    "dapr.io/graceful-shutdown-seconds:": "A delivery takes up to 5 s. Name it: the injector passes on -1 otherwise.",
    "dapr.io/scheduler-host-address:": "Empty: no jobs and no reminders, so a sidecar does not wait for the scheduler.",
    "dapr.io/disable-builtin-k8s-secret-store:": "No app reads Secrets through its sidecar.",
    "dapr.io/enable-metrics:": "daprd listens on the port anyway, because the injector leaves out its flag. The "
    "Configuration turns the metrics off, and no policy opens the port.",
    "dapr.io/sidecar-cpu-request:": "Estimates, not measured in a cluster. The memory limit is above the 102 MiB of "
    "the largest sidecar that was measured (docs/appendix/performance-monitor.md).",
    "terminationGracePeriodSeconds:": "The time to drain, to answer the open requests, to end background work, and "
    "then to stop the sidecar.",
    "automountServiceAccountToken:": "No app calls the API server. The injector mounts a separate token for sentry.",
    "resources:": "Estimates, not measured in a cluster. On one machine an app took 73 to 91 MiB "
    "(docs/appendix/performance-memory.md).",
    "startupProbe:": "Succeeds once. It fails for five minutes at most before the container restarts, because the "
    "broker may start later.",
    "livenessProbe:": "Whether the event loop answers. It must not depend on the store: a restart repairs no outage.",
    "readinessProbe:": "Fails while the store is unreachable or refuses writes.",
    "topologySpreadConstraints:": "Spread the replicas, but do not keep a pod from starting.",
    "preStop:": "Serve until the other sidecars no longer find this pod. It needs Kubernetes 1.30.",
}
GATEWAY_REASONS = {
    **REASONS,
    "startupProbe:": "The gateway listens at once and reports by /readyz what it waits for.",
    "livenessProbe:": "Whether the process answers, regardless of sidecar, broker and store.",
    "readinessProbe:": "Without problems of the broker, which all gateways share: they still read and answer 202.",
}
GATEWAY_REASONS.pop("preStop:")

READY_SCRIPT = (
    "import os, urllib.request as u; u.urlopen(u.Request("
    f"'http://127.0.0.1:{names.APP_PORT}{READY_PATH}', "
    "headers={'dapr-api-token': os.environ['APP_API_TOKEN']}), timeout=4)"
)
"""Asks a service whether its probe event has returned. An HTTP probe has no secret header."""


def restricted(uid: int) -> dict[str, Any]:
    """Return the security settings of a pod that PodSecurity `restricted` accepts."""
    return {
        "runAsNonRoot": True,
        "runAsUser": uid,
        "runAsGroup": uid,
        "fsGroup": uid,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def confined() -> dict[str, Any]:
    """Return the security settings of a container that PodSecurity `restricted` accepts."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def scratch(*names_of_folders: str, mebibytes: int = 16) -> list[dict[str, Any]]:
    """Return volumes for temporary files, because the root file system is read-only."""
    return [{"name": each, "emptyDir": {"sizeLimit": f"{mebibytes}Mi"}} for each in names_of_folders]


def resources(cpu: str, memory: str, cpu_max: str, memory_max: str) -> dict[str, Any]:
    """Return the requests and the limits of a container."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu_max, "memory": memory_max}}


def http_probe(path: str, port: str, period: int, failures: int) -> dict[str, Any]:
    """Return a probe by GET; the period is in seconds."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def template(app: App) -> dict[str, Any]:
    """Return the pod template of an app."""
    return {
        "metadata": {
            "labels": names.labels(app.app_id, names.kind_of(app.app_id)),
            "annotations": sidecar_annotations(app),
        },
        "spec": {
            "serviceAccountName": app.app_id,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": restricted(UID),
            "topologySpreadConstraints": [
                _spread(app.app_id, key) for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
            ],
            "containers": [container(app)],
            "volumes": scratch("tmp"),
        },
    }


def sidecar_annotations(app: App) -> dict[str, str]:
    """Return the annotations from which Dapr's injector makes the sidecar.

    Their names are those of dapr 1.18.2 (pkg/injector/annotations).
    """
    variables = ",".join(f"{each}={names.servers_of(app.app_id)}:{each}" for each in ENVIRONMENT)
    settings = {
        "enabled": "true",
        "app-id": app.app_id,
        "app-port": str(names.APP_PORT),
        "app-protocol": "http",
        "config": configuration_of(app),
        "app-token-secret": names.app_token_of(app.app_id),
        "api-token-secret": names.api_token_of(app.app_id),
        "env-from-secret": variables,
        "enable-native-sidecar": "true",
        "graceful-shutdown-seconds": str(SHUTDOWN_SECONDS),
        "scheduler-host-address": "",
        "disable-builtin-k8s-secret-store": "true",
        "log-level": app.log_level,
        "log-as-json": "true",
        "enable-metrics": "false",
        "metrics-port": str(names.SIDECAR_METRICS_PORT),
        "sidecar-seccomp-profile-type": "RuntimeDefault",
        "sidecar-cpu-request": "100m",
        "sidecar-cpu-limit": "1",
        "sidecar-memory-request": "96Mi",
        "sidecar-memory-limit": "256Mi",
    }
    return {f"dapr.io/{name}": value for name, value in settings.items()}


def container(app: App) -> dict[str, Any]:
    """Return the container of an app. The injector adds the ports of the sidecar to it."""
    module = module_of(app.app_id)
    if not module:
        raise LaunchError(f"the command of {app.app_id} runs no Python module, so the image cannot start it")
    found = {
        "name": "app",
        "image": names.app_image(),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", module],
        "ports": [
            {"name": "http", "containerPort": names.APP_PORT},
            {"name": "metrics", "containerPort": names.METRICS_PORT},
        ],
        "env": environment(app.app_id),
        "envFrom": [{"configMapRef": {"name": names.settings_of(app.app_id)}}],
        **probes(app.app_id),
        "resources": resources("100m", "128Mi", "1", "256Mi"),
        "securityContext": confined(),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
    if app.app_id != GATEWAY:  # a gateway drains by itself (DRAIN_SECONDS)
        found["lifecycle"] = {"preStop": {"sleep": {"seconds": DRAIN_SECONDS}}}
    return found


def environment(app_id: str) -> list[dict[str, Any]]:
    """Return the variables that are equal in every overlay."""
    fixed = {
        "APP_HOST": "0.0.0.0",
        "APP_PORT": str(names.APP_PORT),
        "METRICS_HOST": "0.0.0.0",
        "METRICS_PORT": str(names.METRICS_PORT),
        "LOG_FORMAT": "json",
    }
    secrets = {"APP_API_TOKEN": names.app_token_of(app_id), "DAPR_API_TOKEN": names.api_token_of(app_id)}
    return [
        *({"name": name, "value": value} for name, value in fixed.items()),
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "token"}}}
            for name, secret in secrets.items()
        ),
    ]


def probes(app_id: str) -> dict[str, Any]:
    """Return the three probes of an app."""
    if app_id == GATEWAY:
        return {
            "startupProbe": http_probe("/healthz", "http", 1, 60),
            "livenessProbe": http_probe("/healthz", "http", 10, 6),
            "readinessProbe": http_probe(f"{READY_PATH}?exclude=broker", "http", 2, 2),
        }
    ready = {"exec": {"command": ["python", "-c", READY_SCRIPT]}, "periodSeconds": 3, "timeoutSeconds": 5}
    return {
        "startupProbe": {**ready, "failureThreshold": START_SECONDS // 3},
        "livenessProbe": http_probe("/metrics", "metrics", 10, 6),
        "readinessProbe": http_probe("/healthz", "http", 5, 2),
    }


def _spread(app_id: str, key: str) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.selector(app_id)},
    }
