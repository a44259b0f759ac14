"""The doctor's checks of a cluster, on objects as the API server returns them.

tests/kubernetes/test_commands.py runs all of them on a real cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml

from sidecart.doctor.cluster import ENFORCE, applied, pod_security
from sidecart.doctor.findings import Severity
from sidecart.kubernetes import files, names

Objects = dict[tuple[str, str], dict[str, Any]]
MANIFESTS = files.manifests()
PARTS = ("brokers/redis", "stores/redis", "base/configurations.yaml", "base/network-policies.yaml")


@pytest.fixture
def objects() -> Objects:
    """The objects of the overlay redis, by kind and name."""
    texts = [text for path, text in MANIFESTS.items() if any(f"{names.FOLDER}/{part}" in path for part in PARTS)]
    every = [each for text in texts for each in yaml.safe_load_all(text) if "metadata" in each]
    return {(each["kind"], each["metadata"]["name"]): deepcopy(each) for each in every}


def test_the_files_themselves_have_no_finding(objects: Objects) -> None:
    """Objects of an option, which no file of the base has, do not count."""
    objects["NetworkPolicy", "other"] = {"kind": "NetworkPolicy", "metadata": {"name": "other"}, "spec": {}}

    assert [] == list(applied([*objects.values()]))


def test_options_may_change_metrics_and_tracing(objects: Objects) -> None:
    """The kustomization of an option patches the Configurations."""
    objects["Configuration", "sidecart"]["spec"]["tracing"] = {"samplingRate": "1"}

    assert [] == list(applied([*objects.values()]))


def _remove_component(objects: Objects) -> None:
    del objects["Component", "statestore"]


def _widen_scopes(objects: Objects) -> None:
    objects["Component", "inbox"]["scopes"].append("stranger")


def _change_setting(objects: Objects) -> None:
    objects["Component", "pubsub"]["spec"]["metadata"][0]["value"] = "other"


def _allow_calls(objects: Objects) -> None:
    objects["Configuration", "sidecart"]["spec"]["accessControl"]["defaultAction"] = "allow"


def _weaken_retry(objects: Objects) -> None:
    ((key, found),) = [(key, each) for key, each in objects.items() if key[0] == "Resiliency"]
    objects[key]["spec"] = {**found["spec"], "policies": {}}


def _open_network(objects: Objects) -> None:
    del objects["NetworkPolicy", "default-deny"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_remove_component, ("not-applied", "component/statestore", Severity.DANGER)),
        (_widen_scopes, ("applied-differs", "component/inbox", Severity.WARNING)),
        (_change_setting, ("applied-differs", "component/pubsub", Severity.WARNING)),
        (_allow_calls, ("applied-differs", "configuration/sidecart", Severity.WARNING)),
        (_weaken_retry, ("applied-differs", "resiliency/", Severity.WARNING)),
        (_open_network, ("not-applied", "networkpolicy/default-deny", Severity.WARNING)),
    ],
)
def test_a_difference_is_found(
    objects: Objects, change: Callable[[Objects], None], expected: tuple[str, str, Severity]
) -> None:
    """One finding, which names the object."""
    change(objects)

    (found,) = applied([*objects.values()])

    rule, place, severity = expected
    assert (rule, severity) == (found.rule, found.severity)
    assert found.place.file.startswith(place)


def test_a_namespace_that_accepts_every_pod_is_found() -> None:
    """The label may be missing, or have another value."""
    assert [] == list(pod_security({"metadata": {"labels": {ENFORCE: "restricted"}}}))
    for labels in ({}, {ENFORCE: "baseline"}):
        (found,) = pod_security({"metadata": {"labels": labels}})
        assert "pod-security-off" == found.rule
