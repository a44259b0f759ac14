"""All files of the manifests, by their path in the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sidecart.kubernetes import (
    dapr_resources,
    keeper,
    kustomizations,
    names,
    network,
    options,
    servers,
    settings,
    trial,
    trimmer,
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
RESILIENCY = f"resiliency{SUFFIX}"
PROGRAMS: Mapping[str, tuple[str, Callable[[], str]]] = {
    "redis": (f"{names.TRIMMER}.yaml", trimmer.trimmer_file),
    "rabbitmq": (f"{names.READER_KEEPER}.yaml", keeper.reader_keeper_file),
}
"""The program that each broker needs: the name of its file, and the function that returns it."""


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
    head = "The Configurations of dapr/, each with the access control. Names of apps lead to their Services."
    yield "base/configurations.yaml", text(head, dapr_resources.configurations())
    yield "base/network-policies.yaml", network.base_file()
    yield f"base/{names.KEEPER}.yaml", keeper.keeper_file()
    for app in read_apps().values():
        yield f"base/{app.app_id}.yaml", workloads.app_file(app)


def _dapr() -> Iterator[tuple[str, str]]:
    for broker in BROKERS:
        source, folder = f"{dapr_resources.BROKERS}/{broker}", f"brokers/{broker}"
        program, program_file = PROGRAMS[broker]
        yield from _components(folder, source, f"The broker {broker}.", [RESILIENCY, program])
        head = f"From {dapr_resources.POLICIES} and {source}: one document, because their sequence is not certain here."
        yield f"{folder}/{RESILIENCY}", text(head, [dapr_resources.resiliency(broker)])
        yield f"{folder}/{program}", program_file()
    for store in STORES:
        yield from _components(f"stores/{store}", f"{dapr_resources.STORES}/{store}", f"The store {store}.", [])


def _components(folder: str, source: str, head: str, more: list[str]) -> Iterator[tuple[str, str]]:
    found = dapr_resources.component_texts(source)
    yield f"{folder}/{KUSTOMIZATION}", kustomizations.part(head, [*found, *more])
    for name, each in found.items():
        yield f"{folder}/{name}", f"# Written by `sidecart manifests` from {source}/{name}.\n{each}"


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
