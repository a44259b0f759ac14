"""Installs Dapr's control plane by its Helm chart, with the values that the manifests need."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from sidecart.kubernetes import names
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.launcher.dapr_release import VERSION
from sidecart.launcher.errors import LaunchError

RELEASE = "dapr"
REPOSITORY = "https://dapr.github.io/helm-charts/"
VALUES: Mapping[str, str] = {
    "global.tag": VERSION,
    # the system has no actors and no jobs
    "global.scheduler.enabled": "false",
    "global.actors.enabled": "false",
    # PodSecurity `restricted` refuses the injected sidecar otherwise, and no annotation sets it
    "dapr_sidecar_injector.sidecarDropALLCapabilities": "true",
    # A pod that starts while the injector is unreachable has no sidecar, and would never get one.
    # The operator deletes it, and its successor has one (dapr 1.18.2, pkg/operator/watchdog.go).
    "dapr_operator.watchInterval": "10s",
}
WAIT_SECONDS = 300
"""Images are pulled, and on the first start the other parts wait for sentry's certificates."""


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart: that of the official repository, or a folder or an archive."""

    place: str = ""

    def command(self, kubectl: Kubectl, is_installed: bool) -> list[str]:
        """Return the command that installs Dapr, or updates it with its other values kept."""
        chart = [self.place] if self.place else [RELEASE, "--repo", REPOSITORY, "--version", VERSION]
        return [
            *("helm", "upgrade", "--install", RELEASE, *chart),
            *(["--kubeconfig", str(kubectl.kubeconfig)] if kubectl.kubeconfig else []),
            *(["--kube-context", kubectl.context] if kubectl.context else []),
            *("--namespace", names.CONTROL_PLANE_NAMESPACE, "--create-namespace"),
            *(["--reset-then-reuse-values"] if is_installed else []),
            *(word for name, value in VALUES.items() for word in ("--set", f"{name}={value}")),
            *("--wait", "--timeout", f"{WAIT_SECONDS}s"),
        ]

    def install(self, kubectl: Kubectl, is_installed: bool) -> None:
        """Run the command, with its output on this terminal; raise LaunchError if it fails."""
        command = self.command(kubectl, is_installed)
        program = shutil.which(os.environ.get("HELM") or "helm")
        if program is None:
            raise LaunchError(
                f"helm is not installed (https://helm.sh/docs/intro/install): then run {self.text(command)}"
            )
        code = subprocess.run([program, *command[1:]], check=False).returncode
        if code != 0:
            raise LaunchError(f"helm ended with {code}: see its output above; it ran {self.text(command)}")

    @staticmethod
    def text(command: list[str]) -> str:
        """Return a command as a shell takes it."""
        return shlex.join(command)
