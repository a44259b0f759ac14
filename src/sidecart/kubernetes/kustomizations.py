"""The kustomization files: the base, the parts of an overlay, and the overlays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from sidecart.kubernetes import dapr_resources, names, options, settings
from sidecart.kubernetes.documents import Document, text
from sidecart.launcher.apps import read_apps

API, PART_API = "kustomize.config.k8s.io/v1beta1", "kustomize.config.k8s.io/v1alpha1"
APP_SELECTOR = f"{names.KIND_LABEL} in ({names.GATEWAY_KIND},{names.SERVICE_KIND})"
EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class Overlay:
    """One combination of a broker and a store."""

    broker: str
    store: str
    is_trial: bool
    """Whether it starts the servers, the token issuer and the mail catcher."""

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers that it starts, or whose address its Secrets have."""
        return tuple(dict.fromkeys((self.broker, self.store)))


OVERLAYS: Mapping[str, Overlay] = {
    "redis": Overlay("redis", "redis", is_trial=True),
    "rabbitmq": Overlay("rabbitmq", "redis", is_trial=True),
    "rabbitmq-postgres": Overlay("rabbitmq", "postgres", is_trial=True),
    EXTERNAL: Overlay("rabbitmq", "postgres", is_trial=False),
}


def base() -> str:
    """Return the kustomization of what every overlay has."""
    resources = [
        "namespace.yaml",
        "configurations.yaml",
        "network-policies.yaml",
        f"{names.KEEPER}.yaml",
        *(f"{each}.yaml" for each in read_apps()),
    ]
    head = "The apps without servers: choose an overlay."
    return text(head, [_kustomization(resources=resources, configMapGenerator=_config_maps(settings.base()))])


def part(head: str, resources: Iterable[str], **fields: Any) -> str:
    """Return the kustomization of a part that overlays include."""
    return text(head, [_kustomization("Component", resources=list(resources), **fields)])


def trial_part() -> str:
    """Return the kustomization of the local issuer and the mail catcher, with one replica each."""
    found = settings.trial()
    replicas = [{"name": each, "count": 1} for each in read_apps()]
    resources = [f"{names.ISSUER}.yaml", *([f"{names.MAIL}.yaml"] if settings.senders() else [])]
    head = "For trials: the local token issuer, the mail catcher, and one replica of each app."
    return part(head, resources, replicas=replicas, configMapGenerator=_config_maps(found, behavior="merge"))


def autoscale_part() -> str:
    """Return the kustomization of the autoscaling, which then owns the number of replicas."""
    target = {"kind": "Deployment", "labelSelector": f"{names.KIND_LABEL}={names.SERVICE_KIND}"}
    remove = yaml.safe_dump([{"op": "remove", "path": "/spec/replicas"}], sort_keys=False)
    return part("Autoscaling by lag.", ["scaled-objects.yaml"], patches=[{"target": target, "patch": remove}])


def monitoring_part() -> str:
    """Return the kustomization of the monitoring, which turns on the metrics of the sidecars."""
    annotation = {
        "op": "replace",
        "path": "/spec/template/metadata/annotations/dapr.io~1enable-metrics",
        "value": "true",
    }
    patches = [
        {
            "target": {"labelSelector": APP_SELECTOR, "kind": "Deployment|StatefulSet"},
            "patch": yaml.safe_dump([annotation], sort_keys=False),
        },
        *_configuration_patches(options.monitored_configuration()),
    ]
    return part("Metrics and the dashboard.", ["monitoring.yaml"], patches=patches)


def tracing_part() -> str:
    """Return the kustomization of the tracing: change the address of the collector here."""
    generated = _config_maps({app_id: options.tracing_settings() for app_id in read_apps()}, behavior="merge")
    patches = _configuration_patches(options.traced_configuration())
    return part("Traces.", ["tracing.yaml"], configMapGenerator=generated, patches=patches)


def _configuration_patches(change: Document) -> list[dict[str, Any]]:
    found = dict.fromkeys(dapr_resources.configuration_of(app) for app in read_apps().values())
    return [
        {
            "target": {"kind": "Configuration", "name": name},
            "patch": yaml.safe_dump(
                {"apiVersion": "dapr.io/v1alpha1", "kind": "Configuration", "metadata": {"name": name}, **change},
                sort_keys=False,
            ),
        }
        for name in found
    ]


def overlay(name: str) -> str:
    """Return the kustomization of one overlay."""
    chosen = OVERLAYS[name]
    parts = [f"../../brokers/{chosen.broker}", f"../../stores/{chosen.store}"]
    resources = ["../../base"]
    if chosen.is_trial:
        parts += [*(f"../../servers/{each}" for each in chosen.servers), "../../trial"]
        return text(
            f"For trials: {' and '.join(chosen.servers)}.", [_kustomization(resources=resources, components=parts)]
        )
    generated = _config_maps(settings.external(), behavior="merge")
    head = "For your own servers, issuer and mail server. Include it in a kustomization of yours, which replaces the "
    return text(
        f"{head}addresses of example.com (docs/how-to/kubernetes.md).",
        [
            _kustomization(
                resources=[*resources, "network-policies.yaml"], components=parts, configMapGenerator=generated
            )
        ],
    )


def _kustomization(kind: str = "Kustomization", **fields: Any) -> Document:
    api = API if kind == "Kustomization" else PART_API
    return {"apiVersion": api, "kind": kind, **{name: each for name, each in fields.items() if each}}


def _config_maps(found: Mapping[str, Mapping[str, str]], **fields: str) -> list[dict[str, Any]]:
    return [
        {
            "name": names.settings_of(app_id),
            "namespace": names.NAMESPACE,
            **fields,
            "literals": [f"{name}={value}" for name, value in values.items()],
        }
        for app_id, values in found.items()
    ]
