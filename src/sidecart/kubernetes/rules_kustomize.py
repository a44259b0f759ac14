"""The rules of the kustomization files: each names files that exist, and no file is forgotten."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from sidecart.kubernetes.rules_dapr import Found

GROUP = "kustomize.config.k8s.io/"
NAME = "kustomization.yaml"


def kustomize_rules(found: list[Found]) -> Iterator[str]:
    """Apply all rules of this module."""
    files = {file for file, _ in found}
    listed: set[str] = set()
    for file, one in found:
        if not str(one.get("apiVersion", "")).startswith(GROUP):
            continue
        for entry in (*one.get("resources", ()), *one.get("components", ())):
            path = posixpath.normpath(posixpath.join(posixpath.dirname(file), entry))
            listed |= {path, f"{path}/{NAME}"}
            if not {path, f"{path}/{NAME}"} & files:
                yield f"{file}: {entry} does not exist"
    for file in sorted(files - listed):
        if posixpath.basename(file) != NAME:
            yield f"{file} is in no kustomization"
