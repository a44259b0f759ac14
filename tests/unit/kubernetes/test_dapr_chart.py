"""The command that installs Dapr."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.kubernetes.dapr_chart import Chart
from sidecart.kubernetes.kubectl import Kubectl
from sidecart.launcher.dapr_release import VERSION
from sidecart.launcher.errors import LaunchError

KUBECTL = Kubectl(Path("kubectl"), Path("file"), context="one")


def test_the_command_has_the_values_and_the_cluster() -> None:
    """Exactly the cluster that kubectl reaches."""
    text = Chart.text(Chart().command(KUBECTL, False))

    assert f"--version {VERSION} " in text
    assert "--kubeconfig file --kube-context one " in text
    assert "--set dapr_sidecar_injector.sidecarDropALLCapabilities=true" in text
    assert "--set dapr_operator.watchInterval=10s" in text
    assert "reuse-values" not in text


def test_an_update_keeps_the_other_values() -> None:
    """Dapr may belong to other systems, too; the chart in a folder needs no repository."""
    text = Chart.text(Chart("charts/dapr").command(KUBECTL, True))

    assert "upgrade --install dapr charts/dapr --kubeconfig" in text
    assert "--reset-then-reuse-values" in text


def test_without_helm_the_command_is_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reader can run it on another machine."""
    monkeypatch.delenv("HELM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(LaunchError, match=r"helm is not installed .* helm upgrade --install dapr"):
        Chart().install(KUBECTL, False)
