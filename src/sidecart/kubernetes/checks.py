"""The rules of the manifests: each returns lines that name the file and the fix.

They read texts by path, so a test can change one. No rule needs a cluster; the API server checks
the types of the fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sidecart.kubernetes import names
from sidecart.kubernetes.documents import Document
from sidecart.kubernetes.fields import unknown_fields
from sidecart.kubernetes.files import manifests
from sidecart.kubernetes.rules_dapr import Found, dapr_rules
from sidecart.kubernetes.rules_kustomize import kustomize_rules
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY, app_ids

WORKLOADS = ("Deployment", "StatefulSet")
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?([.-][\w.-]+)?(@sha256:[0-9a-f]{64})?")
"""A name with a version: never `latest`, and never without a tag."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload of a file."""

    file: str
    document: Document

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.document["metadata"]["name"])

    @property
    def place(self) -> str:
        """Its file and its name, for messages."""
        return f"{self.file}: {self.document['kind']} {self.name}"

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of its pods."""
        found: dict[str, Any] = self.document["spec"]["template"]["spec"]
        return found


def on_disk(project: Path | None = None) -> dict[str, str]:
    """Return the texts of the files on disk, by path in the project or in a copy of it."""
    project = project or root()
    files = sorted(path for path in (project / names.FOLDER).rglob("*") if path.is_file())
    return {str(path.relative_to(project)): path.read_text(encoding="utf-8") for path in files}


def problems(texts: Mapping[str, str]) -> list[str]:
    """Return what is wrong with these files; empty if all is right."""
    found: list[Found] = []
    lines: list[str] = []
    for file, text in texts.items():
        try:
            found += [(file, each) for each in yaml.safe_load_all(text) if isinstance(each, dict)]
        except yaml.YAMLError as error:
            lines.append(f"{file} is not YAML: {' '.join(str(error).split())}")
    return [*lines, *differences(texts), *rules(found)]


def differences(texts: Mapping[str, str]) -> Iterator[str]:
    """Each file is what its sources say."""
    wanted = manifests()
    for file in sorted(wanted.keys() | texts.keys()):
        if file not in texts:
            yield f"{file} is missing: run `./sidecart manifests`"
        elif file not in wanted:
            yield f"{file} has no source: remove it, or move it to your own folder"
        elif texts[file] != wanted[file]:
            yield f"{file} is old: run `./sidecart manifests`"


def rules(found: list[Found]) -> Iterator[str]:
    """Apply all rules to the objects of the files."""
    workloads = [Workload(file, each) for file, each in found if each["kind"] in WORKLOADS]
    yield from _topology(workloads)
    for each in workloads:
        yield from _containers(each)
        yield from _pod(each)
        yield from _budget(each, found)
    yield from _scaling(found)
    yield from _closed(found)
    for file, one in found:
        for name in sorted(set(unknown_fields(one))):
            yield f"{file}: {one['kind']} has the unknown field {name}"
        if one["kind"] == "Secret":
            yield f"{file}: a Secret must not be in the repository: `./sidecart manifests --secrets` creates it"
    yield from dapr_rules(found)
    yield from kustomize_rules(found)


def _topology(workloads: list[Workload]) -> Iterator[str]:
    """Each app of dapr.yaml has a workload: the gateway one with stable names."""
    kinds = {each.name: each.document["kind"] for each in workloads}
    for app_id in app_ids():
        kind = "StatefulSet" if app_id == GATEWAY else "Deployment"
        if kinds.get(app_id) != kind:
            yield f"{names.FOLDER}/base: no {kind} {app_id}, which dapr.yaml has"


def _containers(one: Workload) -> Iterator[str]:
    for container in one.pod["containers"]:
        for probe in PROBES:
            if probe not in container:
                yield f"{one.place} has no {probe}"
        if not PINNED.fullmatch(str(container.get("image", ""))):
            yield f"{one.place} has the image {container.get('image')}: name an exact version"
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            if missing := {"cpu", "memory"} - resources.get(kind, {}).keys():
                yield f"{one.place} has no {' and no '.join(sorted(missing))} in {kind}"
        context = container.get("securityContext", {})
        expected = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        for name, value in expected.items():
            if context.get(name) != value:
                yield f"{one.place} needs {name}: {value} in the securityContext of {container['name']}"


def _pod(one: Workload) -> Iterator[str]:
    context = one.pod.get("securityContext", {})
    if context.get("runAsNonRoot") is not True or context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield f"{one.place} needs runAsNonRoot and the seccompProfile RuntimeDefault"
    has_token = one.name == names.READER_KEEPER  # the only program that calls the API server
    if one.pod.get("automountServiceAccountToken") is not has_token:
        yield f"{one.place} {'needs' if has_token else 'mounts'} a token of the API server"
    for volume in one.pod.get("volumes", ()):
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"{one.place} has no sizeLimit of the emptyDir {volume['name']}"
    if one.name in app_ids() and not one.pod.get("topologySpreadConstraints"):
        yield f"{one.place} has no topologySpreadConstraints"


def _budget(one: Workload, found: list[Found]) -> Iterator[str]:
    labels = one.document["spec"]["selector"]["matchLabels"]
    budgets = [each for _, each in found if each["kind"] == "PodDisruptionBudget"]
    if not any(each["spec"]["selector"].get("matchLabels") == labels for each in budgets):
        yield f"{one.place} has no PodDisruptionBudget"


def _scaling(found: list[Found]) -> Iterator[str]:
    for file, each in found:
        if each["kind"] == "ScaledObject" and each["spec"].get("minReplicaCount", 0) < 1:
            yield f"{file}: ScaledObject {each['metadata']['name']} needs a minReplicaCount of at least 1"


def _closed(found: list[Found]) -> Iterator[str]:
    """A policy denies all traffic that no other one allows."""
    closed = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(each["kind"] == "NetworkPolicy" and each["spec"] == closed for _, each in found):
        yield f"{names.FOLDER}/base: no NetworkPolicy that denies all traffic"
    enforce = "pod-security.kubernetes.io/enforce"
    for file, each in found:
        if each["kind"] == "Namespace" and each["metadata"].get("labels", {}).get(enforce) != "restricted":
            yield f"{file}: the Namespace needs the label {enforce}: restricted"
