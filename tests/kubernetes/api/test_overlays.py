"""Each overlay at a real API server: no unknown field, no warning, and one apply is enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.kubernetes import names
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.project import root
from tests.kubernetes.cluster.kubectl import Kubectl

FOLDER = root() / names.FOLDER
STRICT = ("--server-side", "--validate=strict", "--warnings-as-errors")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_valid_and_applies_once(kubectl: Kubectl, overlay: str) -> None:
    """The server knows every field, PodSecurity warns of nothing, and the second apply is empty."""
    folder = str(FOLDER / "overlays" / overlay)
    kubectl("apply", "-f", str(FOLDER / "base" / "namespace.yaml"))
    first = kubectl("apply", *STRICT, "-k", folder).splitlines()
    before = versions(kubectl)

    kubectl("apply", *STRICT, "-k", folder)

    assert len(first) > 30
    assert before == versions(kubectl)


def versions(kubectl: Kubectl) -> dict[str, str]:
    """Return the version of each object in the namespace; a change gives it another."""
    kinds = "deploy,sts,svc,sa,cm,pdb,netpol,components,configurations.dapr.io,resiliencies"
    found = kubectl.within(names.NAMESPACE).get(kinds)["items"]
    return {f"{each['kind']} {each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in found}


def _misspelled(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1


def _privileged(document: dict[str, Any]) -> None:
    document["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True


@pytest.mark.parametrize(
    ("change", "reason"),
    [(_misspelled, "field not declared in schema"), (_privileged, 'would violate PodSecurity "restricted')],
)
def test_a_wrong_manifest_is_refused(kubectl: Kubectl, tmp_path: Path, change: Any, reason: str) -> None:
    """A misspelled field, and a pod that PodSecurity would refuse."""
    kubectl("apply", "-f", str(FOLDER / "base" / "namespace.yaml"))
    found = list(yaml.safe_load_all((FOLDER / "base" / "billing.yaml").read_text(encoding="utf-8")))
    (deployment,) = [each for each in found if each["kind"] == "Deployment"]
    change(deployment)
    file = tmp_path / "deployment.json"
    file.write_text(json.dumps(deployment), encoding="utf-8")

    with pytest.raises(RuntimeError, match=reason):
        kubectl("apply", *STRICT, "-f", str(file))
