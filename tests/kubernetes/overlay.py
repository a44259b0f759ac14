"""The manifests of the shop as a test applies them: an overlay, its Secrets and its volumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY
from tests.faults import trials

ADDRESS = "10.215.0.80"
"""The address of the gateway's Service, which the gateway must know as a host at its start."""
VOLUME_SIZE = "4Gi"
STEADY_NODE = "node-0"
GONE_SECONDS = 60
"""After how long the keeper takes a gateway for gone; longer than one takes to restart here."""
SETTINGS: Mapping[str, Mapping[str, str]] = {
    # an audit reads thousands of resources from one address
    GATEWAY: {"ALLOWED_HOSTS": f"{GATEWAY},{ADDRESS}", "REQUESTS_PER_ADDRESS": "0"},
    "notification": trials.SETTINGS,
}
"""The settings that the tests change; those of the mails are the fault suite's."""


def chosen() -> str:
    """Return the overlay with the servers that BROKER and STORE name; both are redis by default."""
    wanted = os.environ.get("BROKER", "redis"), os.environ.get("STORE", "redis")
    found = [name for name, each in OVERLAYS.items() if each.is_trial and (each.broker, each.store) == wanted]
    assert found, f"no overlay has {wanted[0]} and {wanted[1]}"
    return found[0]


def kustomization(
    overlay: str, folder: Path, options: Sequence[str] = (), patches: Sequence[dict[str, Any]] = ()
) -> Path:
    """Write a kustomization around an overlay, as a user would; return its folder.

    It tells the gateway by which address the tests call it, and lets the keeper wait a minute
    instead of ten. The mail catcher, which stands for a server outside, stays on the node that is
    never drained.
    """
    address = [{"op": "add", "path": "/spec/clusterIP", "value": ADDRESS}]
    node = [{"op": "add", "path": "/spec/template/spec/nodeSelector", "value": {"kubernetes.io/hostname": STEADY_NODE}}]
    keeper = [{"op": "add", "path": "/spec/template/spec/containers/0/args", "value": [f"--after={GONE_SECONDS}"]}]
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [_relative(root() / names.FOLDER / "overlays" / overlay, folder)],
        "components": [_relative(root() / names.FOLDER / "options" / each, folder) for each in options],
        "configMapGenerator": [_settings(app_id, found) for app_id, found in SETTINGS.items()],
        "patches": [
            {"target": {"kind": "Service", "name": f"^{GATEWAY}$"}, "patch": json.dumps(address)},
            {"target": {"kind": "Deployment", "name": f"^{names.MAIL}$"}, "patch": json.dumps(node)},
            {"target": {"kind": "Deployment", "name": f"^{names.KEEPER}$"}, "patch": json.dumps(keeper)},
            *patches,
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(json.dumps(content), encoding="utf-8")
    return folder


def _settings(app_id: str, found: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": names.settings_of(app_id),
        "namespace": names.NAMESPACE,
        "behavior": "merge",
        "literals": [f"{name}={value}" for name, value in found.items()],
    }


def _relative(target: Path, folder: Path) -> str:
    """Return a path as kustomize wants it: never an absolute one."""
    up = "../" * (len(folder.resolve().parts) - 1)
    return up + str(target.resolve().relative_to("/"))


def volumes(overlay: str, folder: Path) -> list[dict[str, Any]]:
    """Return a volume for each server, in a folder that every node sees."""
    found = []
    for server in OVERLAYS[overlay].servers:
        path = folder / server
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)  # a network's storage gives a volume to the group of its pod
        claim = {"namespace": names.NAMESPACE, "name": f"data-{server}-0"}
        spec = {
            "capacity": {"storage": VOLUME_SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": claim,
            "hostPath": {"path": str(path), "type": "Directory"},
        }
        found.append(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"test-{server}"}, "spec": spec}
        )
    return found
