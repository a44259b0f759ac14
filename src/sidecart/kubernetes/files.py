"""All files of the manifests, by their path in the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sidecart.kubernetes import (
    dapr_resources,
    kustomizations,
    names,
    network,
    options,
    servers,
    settings,
    trial,
    workloads,
)
from sidecart.kubernetes.documents import document, text
from sidecart.launcher.apps import read_apps
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES

POD_SECURITY = "restricted"
POD_SECURITY_LABEL = "pod-security.kubernetes.io"
SUFFIX = ".yaml"
KUSTOMIZATION = f"kustomization{SUFFIX}"


def manifests() -> dict[str, str]:
    """Return the text of each file; raise LaunchError if a source cannot be read."""
    return {f"{names.FOLDER}/{path}": each for path, each in _files()}


def unexpected() -> list[Path]:
    """Return the YAML files on disk that no source explains."""
    wanted = {root() / path for path in manifests()}
    return sorted(path for path in (root() / names.FOLDER).rglob(f"*{SUFFIX}") if path not in wanted)


def _files() -> Iterator[tuple[str, str]]:
    yield from _base()
    yield from _dapr()
    yield from _trial()
    yield from _options()
    for name in kustomizations.OVERLAYS:
        yield f"overlays/{name}/{KUSTOMIZATION}", kustomizations.overlay(name)
    yield f"overlays/{kustomizations.EXTERNAL}/network-policies.yaml", network.external_file(settings.senders())


def _base() -> Iterator[tuple[str, str]]:
    yield f"base/{KUSTOMIZATION}", kustomizations.base()
    enforced = {f"{POD_SECURITY_LABEL}/{mode}": POD_SECURITY for mode in ("enforce", "warn", "audit")}
    head = (
        "Pods that PodSecurity `restricted` refuses do not start. The injector must drop all capabilities of sidecars."
    )
    yield "base/namespace.yaml", text(head, [document("Namespace", names.NAMESPACE, labels=enforced, namespace=None)])
    head = "The Configurations of dapr/ without name resolution, each with the access control."
    yield "base/configurations.yaml", text(head, dapr_resources.configurations())
    yield "base/network-policies.yaml", network.base_file()
    for app in read_apps().values():
        yield f"base/{app.app_id}.yaml", workloads.app_file(app)


def _dapr() -> Iterator[tuple[str, str]]:
    for broker in BROKERS:
        source = f"{dapr_resources.BROKERS}/{broker}"
        yield (
            f"brokers/{broker}/{KUSTOMIZATION}",
            kustomizations.part(f"The broker {broker}.", ["components.yaml", "resiliency.yaml"]),
        )
        head = f"From {source}, where each setting has its reason."
        yield f"brokers/{broker}/components.yaml", text(head, dapr_resources.components(source))
        head = f"From {dapr_resources.POLICIES} and {source}: one document, because their sequence is not certain here."
        yield f"brokers/{broker}/resiliency.yaml", text(head, [dapr_resources.resiliency(broker)])
    for store in STORES:
        source = f"{dapr_resources.STORES}/{store}"
        yield f"stores/{store}/{KUSTOMIZATION}", kustomizations.part(f"The store {store}.", ["components.yaml"])
        head = f"From {source}, where each setting has its reason."
        yield f"stores/{store}/components.yaml", text(head, dapr_resources.components(source))


def _trial() -> Iterator[tuple[str, str]]:
    for name in servers.TRIALS:
        yield f"servers/{name}/{KUSTOMIZATION}", kustomizations.part(f"A {name} for trials.", [f"{name}.yaml"])
        yield f"servers/{name}/{name}.yaml", servers.server_file(name)
    yield f"trial/{KUSTOMIZATION}", kustomizations.trial_part()
    yield f"trial/{names.ISSUER}.yaml", trial.issuer_file()
    if senders := settings.senders():
        yield f"trial/{names.MAIL}.yaml", trial.mail_file(senders)


def _options() -> Iterator[tuple[str, str]]:
    for broker in BROKERS:
        yield f"options/autoscale-{broker}/{KUSTOMIZATION}", kustomizations.autoscale_part()
        yield f"options/autoscale-{broker}/scaled-objects.yaml", options.autoscale_file(broker)
    yield f"options/monitoring/{KUSTOMIZATION}", kustomizations.monitoring_part()
    yield "options/monitoring/monitoring.yaml", options.monitoring_file()
    yield f"options/tracing/{KUSTOMIZATION}", kustomizations.tracing_part()
    yield "options/tracing/tracing.yaml", options.tracing_file()
