"""The requirements of the system on a cluster: versions, and Dapr's control plane."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.kubectl import Kubectl, KubectlError
from sidecart.launcher.dapr_release import VERSION as DAPR

SERVER_MIN = (1, 30)
"""`sleep` as a preStop hook; native sidecars are older."""
KUSTOMIZE_MIN = (5, 0)
"""The manifests use components of Kustomize."""
KINDS = ("components", "configurations", "resiliencies", "subscriptions")
"""The kinds of Dapr that its operator and its sidecars read."""
OPERATOR, INJECTOR, SENTRY = "dapr-operator", "dapr-sidecar-injector", "dapr-sentry"
VERSION_LABEL = "app.kubernetes.io/version"
DROPS = "SIDECAR_DROP_ALL_CAPABILITIES"
"""The variable of the injector that the Helm value sidecarDropALLCapabilities sets."""
WATCH = "--watch-interval"
"""The argument of the operator that the Helm value watchInterval sets; `0` is off."""
SYSTEM_CONFIGURATION = "daprsystem"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the system cannot run, and what to do."""

    rule: str
    place: str
    what: str
    fix: str
    is_fatal: bool = True
    """Whether the system would not start, or would not be safe."""


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of the server and of the client."""

    server: str
    kustomize: str

    def problems(self) -> Iterator[Problem]:
        """Yield what is too old."""
        if number(self.server) < SERVER_MIN:
            what = f"the server has Kubernetes {self.server}, and {_text(SERVER_MIN)} or newer is needed"
            yield Problem("kubernetes-version", "server", what, "update the cluster, or choose another context")
        if number(self.kustomize) < KUSTOMIZE_MIN:
            what = f"kubectl has Kustomize {self.kustomize or '(none)'}, and {KUSTOMIZE_MIN[0]} or newer is needed"
            yield Problem("kubectl-version", "kubectl", what, "install kubectl 1.27 or newer")


def versions(kubectl: Kubectl) -> Versions:
    """Ask for the versions; raise KubectlError if the server does not answer."""
    found = json.loads(kubectl("version", "-o", "json"))
    return Versions(str(found["serverVersion"]["gitVersion"]), str(found.get("kustomizeVersion", "")))


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The state of Dapr's control plane."""

    kinds: frozenset[str]
    """The kinds of Dapr that the server knows."""
    deployments: frozenset[str]
    version: str
    drops_capabilities: bool
    has_mtls: bool
    replaces_pods: bool
    """Whether the operator replaces a pod that started without a sidecar."""

    @property
    def is_installed(self) -> bool:
        """Whether any part of it is there."""
        return bool(self.kinds or self.deployments)

    def problems(self) -> Iterator[Problem]:
        """Yield what is missing or different; nothing but the absence if all is missing."""
        place = names.CONTROL_PLANE_NAMESPACE
        if not self.is_installed:
            yield Problem("dapr-missing", place, "Dapr's control plane is not installed", INSTALL)
            return
        if missing := [each for each in KINDS if each not in self.kinds]:
            what = f"the server does not know Dapr's {', '.join(missing)}"
            yield Problem("dapr-missing", place, what, INSTALL)
        if missing := [each for each in (OPERATOR, INJECTOR, SENTRY) if each not in self.deployments]:
            what = f"the namespace {place} has no {', '.join(missing)}"
            yield Problem("dapr-missing", place, what, f"{INSTALL}; Dapr in another namespace is not supported")
            return
        if number(self.version) != number(DAPR):
            what = f"Dapr's control plane is {self.version or 'of an unknown version'}; the sidecars need {DAPR}"
            yield Problem("dapr-version", place, what, f"install Dapr {DAPR}")
        if not self.drops_capabilities:
            what = "the injector does not drop all capabilities of sidecars: PodSecurity `restricted` refuses the pods"
            fix = "set the Helm value dapr_sidecar_injector.sidecarDropALLCapabilities to true"
            yield Problem("injector-keeps-capabilities", f"{place}/{INJECTOR}", what, fix)
        if not self.has_mtls:
            what = "mTLS is off: sidecars have no identity, so the access control denies every call"
            fix = "set the Helm value global.mtls.enabled to true"
            yield Problem("mtls-off", f"{place}/{SYSTEM_CONFIGURATION}", what, fix)
        if not self.replaces_pods:
            what = "a pod that starts while the injector is unreachable has no sidecar, and never gets one"
            fix = "set the Helm value dapr_operator.watchInterval to 10s"
            yield Problem("no-watchdog", f"{place}/{OPERATOR}", what, fix, is_fatal=False)


INSTALL = "run `sidecart kubernetes up --install-dapr`"


def control_plane(kubectl: Kubectl) -> ControlPlane:
    """Read the control plane of the cluster."""
    definitions = kubectl("get", "crd", "-o", "name").split()
    suffix = ".dapr.io"
    kinds = frozenset(each.rpartition("/")[2].removesuffix(suffix) for each in definitions if each.endswith(suffix))
    inside = kubectl.within(names.CONTROL_PLANE_NAMESPACE)
    found = {each["metadata"]["name"]: each for each in inside.get("deployment")["items"]}
    operator, injector = found.get(OPERATOR, {}), found.get(INJECTOR, {})
    return ControlPlane(
        kinds,
        frozenset(found),
        str(operator.get("metadata", {}).get("labels", {}).get(VERSION_LABEL, "")),
        _variable(injector, DROPS) == "true",
        "configurations" in kinds and _has_mtls(inside),
        _argument(operator, WATCH) not in ("", "0"),
    )


def _has_mtls(inside: Kubectl) -> bool:
    try:
        found = inside.get("configurations.dapr.io", SYSTEM_CONFIGURATION)
    except KubectlError:
        return False
    return found.get("spec", {}).get("mtls", {}).get("enabled") is True


def _argument(deployment: dict[str, Any], name: str) -> str:
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    for each in containers:
        words = [*each.get("command", []), *each.get("args", [])]
        if name in words[:-1]:
            return str(words[words.index(name) + 1])
    return ""


def _variable(deployment: dict[str, Any], name: str) -> str:
    containers = deployment.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    variables = (variable for each in containers for variable in each.get("env", []))
    return next((str(each.get("value", "")) for each in variables if each["name"] == name), "")


def number(version: str) -> tuple[int, int]:
    """Return the major and the minor version in a text such as v1.33.3; zeros without one."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _text(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
