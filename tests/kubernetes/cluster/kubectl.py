"""kubectl, with the kubeconfig of one cluster."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kubernetes.cluster.namespaces import run


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl; a failed command raises RuntimeError with its output."""

    program: Path
    kubeconfig: Path
    namespace: str = ""

    def __call__(self, *words: str, stdin: str = "") -> str:
        """Run a command, and return its output."""
        return run(*self.command(*words), stdin=stdin)

    def command(self, *words: str) -> list[str]:
        """Return the words of a command, such as one that runs on."""
        namespace = ["-n", self.namespace] if self.namespace else []
        return [str(self.program), "--kubeconfig", str(self.kubeconfig), *namespace, *words]

    def within(self, namespace: str) -> Kubectl:
        """Return the same for one namespace."""
        return Kubectl(self.program, self.kubeconfig, namespace)

    def apply(self, text: str, *words: str) -> str:
        """Apply manifests."""
        return self("apply", "-f", "-", *words, stdin=text)

    def get(self, *words: str) -> dict[str, Any]:
        """Return an object or a list of objects."""
        return dict(json.loads(self("get", "-o", "json", *words)))


def from_environment() -> Kubectl:
    """Return the kubectl of the cluster that KUBECONFIG names; KUBECTL may name the program."""
    assert "KUBECONFIG" in os.environ, "set KUBECONFIG to the file of a test cluster"
    return Kubectl(Path(os.environ.get("KUBECTL", "kubectl")), Path(os.environ["KUBECONFIG"]))
