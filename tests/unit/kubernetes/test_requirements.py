"""The requirements of a cluster: each missing part has a line with the remedy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sidecart.kubernetes.requirements import INJECTOR, KINDS, OPERATOR, SENTRY, ControlPlane, Versions, number
from sidecart.launcher.dapr_release import VERSION

FITTING = ControlPlane(frozenset(KINDS), frozenset({OPERATOR, INJECTOR, SENTRY}), VERSION, True, True, True)


def rules(plane: ControlPlane) -> list[str]:
    """Return the rules that a control plane breaks."""
    return [each.rule for each in plane.problems()]


def test_a_fitting_cluster_has_no_problem() -> None:
    """Newer servers fit, too."""
    assert [] == rules(FITTING)
    assert [] == list(Versions("v1.33.3", "v5.6.0").problems())
    assert [] == list(Versions("v1.30.0-eks-1234", "v5.0.1").problems())


def test_old_versions_are_named() -> None:
    """The server needs 1.30, and kubectl Kustomize 5."""
    found = list(Versions("v1.29.9", "v4.5.7").problems())

    assert ["kubernetes-version", "kubectl-version"] == [each.rule for each in found]
    assert "Kubernetes v1.29.9" in found[0].what


@pytest.mark.parametrize(
    ("plane", "expected"),
    [
        (ControlPlane(frozenset(), frozenset(), "", False, False, False), ["dapr-missing"]),
        (replace(FITTING, kinds=FITTING.kinds - {"resiliencies"}), ["dapr-missing"]),
        (replace(FITTING, deployments=frozenset({OPERATOR, INJECTOR})), ["dapr-missing"]),
        (replace(FITTING, version="1.17.4"), ["dapr-version"]),
        (replace(FITTING, version=""), ["dapr-version"]),
        (replace(FITTING, drops_capabilities=False), ["injector-keeps-capabilities"]),
        (replace(FITTING, has_mtls=False), ["mtls-off"]),
        (replace(FITTING, replaces_pods=False), ["no-watchdog"]),
    ],
)
def test_a_control_plane_that_does_not_fit_is_named(plane: ControlPlane, expected: list[str]) -> None:
    """One problem for each reason."""
    assert expected == rules(plane)


def test_a_newer_patch_release_fits() -> None:
    """The major and the minor version count."""
    major, minor = number(VERSION)

    assert [] == rules(replace(FITTING, version=f"{major}.{minor}.99"))
    assert (0, 0) == number("edge")
