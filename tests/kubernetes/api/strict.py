"""The API server's check of manifests: it refuses unknown fields, and a warning is an error."""

from __future__ import annotations

from pathlib import Path

from tests.kubernetes.cluster.kubectl import Kubectl

STRICT = ("--server-side", "--validate=strict", "--warnings-as-errors")


def apply(kubectl: Kubectl, folder: Path) -> list[str]:
    """Apply a kustomization; return the objects, or raise KubectlError with the server's reason."""
    return kubectl("apply", *STRICT, "-k", str(folder)).splitlines()
