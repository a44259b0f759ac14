"""The kubectl of the test cluster; src/sidecart/kubernetes/kubectl.py runs it."""

from __future__ import annotations

import os
from pathlib import Path

from sidecart.kubernetes.kubectl import PROGRAM, Kubectl

__all__ = ["Kubectl", "from_environment"]


def from_environment() -> Kubectl:
    """Return the kubectl of the cluster that KUBECONFIG names; KUBECTL may name the program."""
    assert "KUBECONFIG" in os.environ, "set KUBECONFIG to the file of a test cluster"
    return Kubectl(Path(os.environ.get(PROGRAM, "kubectl")), Path(os.environ["KUBECONFIG"]))
