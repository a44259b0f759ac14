"""The local token issuer and the mail catcher, which only the trial overlays have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sidecart.issuer import tokens
from sidecart.issuer.keys import JWKS_PATH
from sidecart.kubernetes import names, network
from sidecart.kubernetes.documents import Document, document, text
from sidecart.kubernetes.pods import UID, confined, http_probe, resources, restricted, scratch
from sidecart.kubernetes.workloads import REASONS as WORKLOAD_REASONS
from sidecart.kubernetes.workloads import disruption_budget
from sidecart.launcher.topics import GATEWAY

KEYS = "/run/secrets/token-issuer"
ISSUER_SECRET = "token-issuer"
HOST = "localhost"
"""The mail catcher answers a request for this host only."""

REASONS = {
    "automountServiceAccountToken:": "The program does not call the API server.",
    "resources:": "Estimates, not measured in a cluster.",
    **WORKLOAD_REASONS,
}


def issuer_settings() -> dict[str, str]:
    """Return the settings by which the gateway accepts the tokens of the local issuer."""
    return {
        "OIDC_ISSUER": tokens.ISSUER,
        "OIDC_AUDIENCE": tokens.AUDIENCE,
        "OIDC_JWKS": f"http://{names.ISSUER}:{names.ISSUER_PORT}{JWKS_PATH}",
    }


def issuer_file() -> str:
    """Return the file of the local token issuer."""
    command = ["python", "-m", "sidecart.issuer", "--host", "0.0.0.0", "--port", str(names.ISSUER_PORT), "--keys", KEYS]
    keys = {"name": "keys", "secret": {"secretName": ISSUER_SECRET}}
    probe = http_probe(JWKS_PATH, "http", 5, 3)
    found = [
        *_program(names.ISSUER, command, {"http": names.ISSUER_PORT}, probe, {"keys": (keys, KEYS)}),
        *network.flow(names.ISSUER, network.GATEWAYS, network.pods_of(names.ISSUER), [names.ISSUER_PORT]),
    ]
    head = f"Serves the public key of the callers' tokens to the {GATEWAY}; `./sidecart token --keys` signs them."
    return text(head, found, REASONS)


def mail_file(senders: list[str]) -> str:
    """Return the file of the mail catcher, which accepts mails of these apps."""
    module = "sidecart.launcher.servers.mailcatcher"
    ports = {"smtp": names.SMTP_PORT, "http": names.MAILS_PORT}
    command = ["python", "-m", module, "--host", "0.0.0.0"]
    for name, port in ports.items():
        command += [f"--{name}-port", str(port)]
    probe = http_probe("/recipients", "http", 5, 3)
    probe["httpGet"]["httpHeaders"] = [{"name": "Host", "value": HOST}]
    flows = [
        each
        for app_id in senders
        for each in network.flow(
            f"{app_id}-mail", network.pods_of(app_id), network.pods_of(names.MAIL), [names.SMTP_PORT]
        )
    ]
    found = [*_program(names.MAIL, command, ports, probe, {}), *flows]
    return text("Accepts every mail, delivers none, and shows them.", found, REASONS)


def _program(
    name: str,
    command: list[str],
    ports: Mapping[str, int],
    probe: Mapping[str, Any],
    mounted: Mapping[str, tuple[dict[str, Any], str]],
) -> Iterator[Document]:
    """A Deployment of the apps' image, with its Service."""
    labels = names.labels(name, names.TRIAL_KIND)
    mounts = [{"name": each, "mountPath": path, "readOnly": True} for each, (_, path) in mounted.items()]
    pod = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted(UID),
        "containers": [_container(name, command, ports, probe, mounts)],
        "volumes": [*(volume for volume, _ in mounted.values()), *scratch("tmp")],
    }
    yield document("ServiceAccount", name, automountServiceAccountToken=False)
    yield document(
        "Deployment",
        name,
        "apps/v1",
        labels=labels,
        spec={
            "replicas": 1,
            "selector": {"matchLabels": names.selector(name)},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    )
    service_ports = [{"name": each, "port": port, "targetPort": each} for each, port in ports.items()]
    yield document("Service", name, spec={"selector": names.selector(name), "ports": service_ports})
    yield disruption_budget(name)


def _container(
    name: str, command: list[str], ports: Mapping[str, int], probe: Mapping[str, Any], mounts: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": name,
        "image": names.app_image(),
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "ports": [{"name": each, "containerPort": port} for each, port in ports.items()],
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 60},
        "livenessProbe": {**probe, "periodSeconds": 20},
        "readinessProbe": dict(probe),
        "resources": resources("20m", "64Mi", "500m", "128Mi"),
        "securityContext": confined(),
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }
