"""Mutants of the manifests: for each fault, the checks that find it, and what they say.

The tests of the unchanged manifests call the same checks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.kubernetes import checks, names
from sidecart.kubernetes.kubectl import KubectlError
from sidecart.kubernetes.kustomizations import EXTERNAL
from sidecart.launcher.project import PROJECT
from tests.kubernetes.api import policy, strict
from tests.kubernetes.api.rendering import copied, overlay_folder, text, with_options
from tests.kubernetes.cluster.kubectl import Kubectl

Documents = list[dict[str, Any]]
Change = Callable[[Documents], object]
Check = Callable[[Path, Kubectl], list[str]]
"""Returns what is wrong with the manifests of a project."""
OLD = "run `./sidecart manifests`"


def rules(project: Path, kubectl: Kubectl) -> list[str]:
    """Apply the project's rules, but for the comparison with the sources.

    A mutant stands for a fault of the sources or of the generator, which agrees with the files.
    """
    del kubectl
    return [line for line in checks.problems(checks.on_disk(project)) if not line.endswith(OLD)]


def scan(project: Path, kubectl: Kubectl) -> list[str]:
    """Scan the overlay that has two replicas of each app."""
    del kubectl
    return policy.findings(text(overlay_folder(EXTERNAL, project)))


def api_server(project: Path, kubectl: Kubectl) -> list[str]:
    """Apply an overlay with all options."""
    try:
        strict.apply(kubectl, with_options(project, "redis", "autoscale-redis", "monitoring", "tracing"))
    except KubectlError as error:
        return [str(error)]
    return []


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the changed file of the project, and a part of the line that each check prints."""

    file: str
    change: Change | None
    """None: the file is missing."""
    found: Mapping[Check, str]


def pod(found: Documents) -> dict[str, Any]:
    """Return the pod of the workload among these objects."""
    workload = next(each for each in found if each["kind"] in checks.WORKLOADS)
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def app(found: Documents) -> dict[str, Any]:
    """Return the container of the workload among these objects."""
    container: dict[str, Any] = pod(found)["containers"][0]
    return container


def rename(mapping: dict[str, Any], old: str, new: str) -> None:
    """Give a field another name."""
    mapping[new] = mapping.pop(old)


def remove(found: Documents, kind: str, name: str) -> None:
    """Remove an object."""
    found[:] = [each for each in found if (each["kind"], each["metadata"]["name"]) != (kind, name)]


def spec_of(found: Documents, kind: str) -> dict[str, Any]:
    """Return the spec of the first object of a kind."""
    spec: dict[str, Any] = next(each for each in found if each["kind"] == kind)["spec"]
    return spec


def close_topic(found: Documents, topic: str) -> None:
    """Remove a topic from those that apps may publish."""
    scopes = next(each for each in found[0]["spec"]["metadata"] if each["name"] == "publishingScopes")
    scopes["value"] = scopes["value"].replace(f",{topic}", "")


BASE, STORES, BROKERS, OPTIONS = (f"{names.FOLDER}/{each}" for each in ("base", "stores", "brokers", "options"))
MUTANTS = {
    "a misspelled field": Mutant(
        f"{BASE}/order.yaml",
        lambda found: rename(pod(found), "terminationGracePeriodSeconds", "terminationGracePeriodSecond"),
        {
            api_server: "terminationGracePeriodSecond: field not declared in schema",
            rules: "Deployment has the unknown field terminationGracePeriodSecond",
        },
    ),
    "a component missing in components/": Mutant(
        "components/brokers/rabbitmq/replies.yaml",
        None,
        {rules: "brokers/rabbitmq: no component replies, which gateway use"},
    ),
    "a missing probe": Mutant(
        f"{BASE}/gateway.yaml",
        lambda found: app(found).pop("readinessProbe"),
        {
            rules: "StatefulSet gateway has no readinessProbe",
            scan: "StatefulSet/gateway: pod-probes: Container is missing a readinessProbe",
        },
    ),
    "a missing scope of a component": Mutant(
        f"{STORES}/postgres/statestore.yaml",
        lambda found: found[0]["scopes"].remove("billing"),
        {rules: "stores/postgres: the scopes of statestore lack billing"},
    ),
    "a missing scope of a topic": Mutant(
        f"{BROKERS}/redis/pubsub.yaml",
        lambda found: close_topic(found, "OrderPaid"),
        {rules: "brokers/redis: pubsub: publishingScopes lacks OrderPaid of order"},
    ),
    "a latest tag": Mutant(
        f"{BASE}/billing.yaml",
        lambda found: app(found).update(image="sidecart-app:latest"),
        {
            rules: "Deployment billing has the image sidecart-app:latest: name an exact version",
            scan: "Deployment/billing: container-image-tag: Image with latest tag",
        },
    ),
    "a service without a disruption budget": Mutant(
        f"{BASE}/notification.yaml",
        lambda found: remove(found, "PodDisruptionBudget", "notification"),
        {
            rules: "Deployment notification has no PodDisruptionBudget",
            scan: "Deployment/notification: deployment-has-poddisruptionbudget: No matching PodDisruptionBudget",
        },
    ),
    "a pod that PodSecurity refuses": Mutant(
        f"{BASE}/user.yaml",
        lambda found: app(found)["securityContext"].update(allowPrivilegeEscalation=True),
        {
            api_server: 'would violate PodSecurity "restricted',
            rules: "Deployment user needs allowPrivilegeEscalation: False in the securityContext of app",
        },
    ),
    "a StatefulSet without a headless Service": Mutant(
        f"{BASE}/gateway.yaml",
        lambda found: spec_of(found, "StatefulSet").update(serviceName="gateway"),
        {scan: "StatefulSet/gateway: statefulset-has-servicename: StatefulSet does not have a valid serviceName"},
    ),
    "a misspelled field of KEDA": Mutant(
        f"{OPTIONS}/autoscale-redis/scaled-objects.yaml",
        lambda found: rename(spec_of(found, "ScaledObject"), "pollingInterval", "pollInterval"),
        {api_server: "pollInterval: field not declared in schema", rules: "the unknown field pollInterval"},
    ),
    "a misspelled field of the Prometheus operator": Mutant(
        f"{OPTIONS}/monitoring/monitoring.yaml",
        lambda found: rename(spec_of(found, "PodMonitor"), "podMetricsEndpoints", "podMetricEndpoints"),
        {api_server: "podMetricEndpoints: field not declared in schema", rules: "unknown field podMetricEndpoints"},
    ),
}
"""The mutants of the six kinds that the manifests must be free of come first."""


@pytest.mark.parametrize(("mutant", "check"), [(name, check) for name, one in MUTANTS.items() for check in one.found])
def test_a_mutant_fails(kubectl: Kubectl, tmp_path: Path, mutant: str, check: Check) -> None:
    """The check prints one line, which names the fault."""
    project, one = copied(tmp_path), MUTANTS[mutant]
    change(project, one)

    lines = check(project, kubectl)

    assert 1 == len(lines), lines
    assert one.found[check] in lines[0]


@pytest.mark.parametrize("check", [rules, scan, api_server])
def test_an_unchanged_copy_passes(kubectl: Kubectl, tmp_path: Path, check: Check) -> None:
    """Without a fault, no check finds one."""
    assert [] == check(copied(tmp_path), kubectl)


def change(project: Path, mutant: Mutant) -> None:
    """Put the fault into a copy of the project; a changed source changes the manifests too."""
    file = project / mutant.file
    if mutant.change is None:
        file.unlink()
    else:
        found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
        mutant.change(found)
        file.write_text(yaml.safe_dump_all(found, sort_keys=False), encoding="utf-8")
    if not mutant.file.startswith(names.FOLDER):
        shutil.rmtree(project / names.FOLDER)
        command = [sys.executable, "-m", "sidecart.cli", "manifests"]
        subprocess.run(command, env=os.environ | {PROJECT: str(project)}, check=True)
