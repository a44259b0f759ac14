"""The names that several manifests share: namespace, ports, labels, images."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

from sidecart.launcher.permissions import TRIMMER as TRIMMER_LOGIN
from sidecart.launcher.project import PROJECT_FILE, root
from sidecart.launcher.servers.login_templates import KEEPER as KEEPER_LOGIN
from sidecart.launcher.topics import GATEWAY

FOLDER = "deploy/kubernetes"
"""The folder of the manifests in the project."""
NAMESPACE = "sidecart"
CONTROL_PLANE_NAMESPACE = "dapr-system"
DNS_NAMESPACE = "kube-system"

APP_PORT = 8000
METRICS_PORT = 9100
SIDECAR_INTERNAL_PORT = 50002
"""The port on which sidecars call each other; the injector's default, as the next one."""
SIDECAR_METRICS_PORT = 9090
SENTRY_PORT, OPERATOR_PORT, PLACEMENT_PORT = 50001, 6500, 50005
"""The ports of the control plane's pods (charts/dapr of dapr 1.18.2)."""
ISSUER_PORT, SMTP_PORT, MAILS_PORT = 8030, 1025, 8025
SERVER_PORTS: Mapping[str, int] = {"redis": 6379, "rabbitmq": 5672, "postgres": 5432}

KEEPER = KEEPER_LOGIN
"""The Deployment of the keeper has the name of its login."""
TRIMMER = TRIMMER_LOGIN
"""So has that of the trimmer, which Redis needs."""
READER_KEEPER = "reader-keeper"
"""The Deployment that evicts pods whose sidecars read incorrectly from RabbitMQ."""
ISSUER, MAIL = "issuer", "mail"
"""The Deployments of the trial overlays."""

NAME_LABEL = "app.kubernetes.io/name"
PART_LABEL = "app.kubernetes.io/part-of"
KIND_LABEL = "app.kubernetes.io/component"
PROJECT = "sidecart"
GATEWAY_KIND, SERVICE_KIND, SERVER_KIND, TRIAL_KIND, KEEPER_KIND = GATEWAY, "service", "server", "trial", "keeper"
TRIMMER_KIND = "trimmer"

APP_IMAGE = "sidecart-app"
SERVER_IMAGES: Mapping[str, str] = {
    "redis": "redis:7.2.16-bookworm",
    "rabbitmq": "rabbitmq:3.13.7",
    "postgres": "postgres:16.15-bookworm",
}


def app_image() -> str:
    """Return the image of the apps, with the version of the project as its tag."""
    project = tomllib.loads((root() / PROJECT_FILE).read_text(encoding="utf-8")).get("project", {})
    return f"{APP_IMAGE}:{project.get('version', '0.0.0')}"


def kind_of(app_id: str) -> str:
    """Return the kind of an app, by which NetworkPolicies select its pods."""
    return GATEWAY_KIND if app_id == GATEWAY else SERVICE_KIND


def selector(name: str) -> dict[str, str]:
    """Return the labels that select the pods of one workload."""
    return {NAME_LABEL: name, PART_LABEL: PROJECT}


def labels(name: str, kind: str) -> dict[str, str]:
    """Return the labels of an object of one workload."""
    return {**selector(name), KIND_LABEL: kind}


def pod_names_of(workload: str) -> str:
    """Return the name of the headless Service that gives each pod of a StatefulSet its name."""
    return f"{workload}-pods"


def settings_of(app_id: str) -> str:
    """Return the name of the ConfigMap with an app's settings."""
    return f"{app_id}-settings"


def app_token_of(app_id: str) -> str:
    """Return the name of the Secret with the token that callers of an app need."""
    return f"{app_id}-app-token"


def api_token_of(app_id: str) -> str:
    """Return the name of the Secret with the token that callers of a sidecar need."""
    return f"{app_id}-api-token"


def servers_of(login: str) -> str:
    """Return the name of the Secret with the addresses of the servers, for one login."""
    return f"{login}-servers"


def server_secret(server: str) -> str:
    """Return the name of the Secret that a server for trials reads its logins from."""
    return f"{server}-logins"


def server_host(server: str) -> str:
    """Return the name of a server for trials, which pods of every namespace can resolve."""
    return f"{server}.{NAMESPACE}.svc"
