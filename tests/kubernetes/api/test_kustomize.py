"""The content of the overlays, with and without options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecart.chassis.publish_components import is_further
from sidecart.kubernetes import names
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.topics import GATEWAY, app_ids, service_ids
from tests.kubernetes.api.rendering import Objects, copied, objects, overlay_folder, with_options


def by_name(found: Objects, kind: str) -> dict[str, dict[str, Any]]:
    """Return the objects of a kind by name."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def settings(found: Objects, app_id: str) -> dict[str, str]:
    """Return the settings of an app from the ConfigMap that its pods name."""
    workload = (by_name(found, "Deployment") | by_name(found, "StatefulSet"))[app_id]
    [source] = workload["spec"]["template"]["spec"]["containers"][0]["envFrom"]
    content: dict[str, str] | None = by_name(found, "ConfigMap")[source["configMapRef"]["name"]].get("data")
    return content or {}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_has_every_app_and_one_of_each_resource(overlay: str) -> None:
    """Each object is there once, in the namespace."""
    found = objects(overlay_folder(overlay))
    keys = [(each["kind"], each["metadata"]["name"]) for each in found]

    assert len(keys) == len(set(keys))
    assert {*app_ids()} <= {name for kind, name in keys if kind in ("Deployment", "StatefulSet")}
    components = {name for name in by_name(found, "Component") if not is_further(name)}
    assert {"pubsub", "replies", "inbox", "mailbus", "statestore"} == components
    assert 1 == len(by_name(found, "Resiliency"))
    assert {names.NAMESPACE} == {each["metadata"].get("namespace") for each in found if each["kind"] != "Namespace"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_trial_has_its_servers_and_other_settings_than_your_own(overlay: str) -> None:
    """Only the overlay `external` keeps two replicas and names no server in the cluster."""
    found, chosen = objects(overlay_folder(overlay)), OVERLAYS[overlay]
    stateful = by_name(found, "StatefulSet")
    servers = set(chosen.servers) if chosen.is_trial else set()

    assert {GATEWAY, *servers} == stateful.keys()
    assert (1 if chosen.is_trial else 2) == stateful[GATEWAY]["spec"]["replicas"]
    assert chosen.is_trial == settings(found, GATEWAY)["OIDC_ISSUER"].startswith("http://")
    assert chosen.is_trial == ("issuer" in by_name(found, "Deployment"))


def test_the_options_change_what_they_name(tmp_path: Path) -> None:
    """Autoscaling owns the replicas; monitoring and tracing reach the apps and the sidecars."""
    found = objects(with_options(copied(tmp_path), "redis", "autoscale-redis", "monitoring", "tracing"))
    workloads = by_name(found, "Deployment") | by_name(found, "StatefulSet")
    configurations = by_name(found, "Configuration").values()

    assert {*service_ids()} == by_name(found, "ScaledObject").keys()
    assert [] == [app_id for app_id in service_ids() if "replicas" in workloads[app_id]["spec"]]
    for app_id in app_ids():
        annotations = workloads[app_id]["spec"]["template"]["metadata"]["annotations"]
        assert "true" == annotations["dapr.io/enable-metrics"]
        assert settings(found, app_id)["OTEL_EXPORTER_OTLP_ENDPOINT"].startswith("http://")
    assert all(each["spec"]["metrics"]["enabled"] for each in configurations)
    assert all(each["spec"]["tracing"]["otel"]["protocol"] == "http" for each in configurations)
    assert all(each["spec"]["accessControl"]["defaultAction"] == "deny" for each in configurations)
