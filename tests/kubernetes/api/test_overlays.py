"""Overlays and options at a real API server: no unknown field, no warning, one apply is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.kubernetes import names
from sidecart.kubernetes.kustomizations import OVERLAYS
from tests.kubernetes.api import strict
from tests.kubernetes.api.rendering import copied, overlay_folder, with_options
from tests.kubernetes.cluster.kubectl import Kubectl


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid_and_applies_once(kubectl: Kubectl, overlay: str) -> None:
    """The server knows every field, PodSecurity warns of nothing, and the second apply is empty."""
    first = strict.apply(kubectl, overlay_folder(overlay))
    before = versions(kubectl)

    strict.apply(kubectl, overlay_folder(overlay))

    assert len(first) > 30
    assert before == versions(kubectl)


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_the_options_are_valid(kubectl: Kubectl, tmp_path: Path, broker: str) -> None:
    """The server also knows every field of KEDA's objects and of the Prometheus operator's."""
    folder = with_options(copied(tmp_path), broker, f"autoscale-{broker}", "monitoring", "tracing")

    applied = strict.apply(kubectl, folder)

    for kind in ("scaledobject", "triggerauthentication", "podmonitor", "prometheusrule"):
        assert any(line.startswith(f"{kind}.") for line in applied), applied


def versions(kubectl: Kubectl) -> dict[str, str]:
    """Return the version of each object in the namespace; a change gives it another."""
    kinds = "deploy,sts,svc,sa,cm,pdb,netpol,components,configurations.dapr.io,resiliencies"
    found = kubectl.within(names.NAMESPACE).get(kinds)["items"]
    return {f"{each['kind']} {each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}
