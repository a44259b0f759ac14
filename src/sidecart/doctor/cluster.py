"""Check a cluster: versions, Dapr's control plane, and what is applied in the namespace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from sidecart.doctor import running
from sidecart.doctor.findings import Finding, Place, Severity
from sidecart.kubernetes import dapr_resources, files, names, network, requirements
from sidecart.kubernetes.forwards import SIDECAR_PORT, Forwards, sidecar_token, workload_of
from sidecart.kubernetes.kubectl import Kubectl, KubectlError
from sidecart.kubernetes.requirements import Problem
from sidecart.launcher.components import uses_of
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import sidecar_of

DANGER, WARNING, NOTE = Severity

KINDS = ("components.dapr.io", "configurations.dapr.io", "resiliencies.dapr.io", "networkpolicies")
PATCHED: Mapping[str, tuple[str, ...]] = {"Configuration": ("metric", "metrics", "tracing")}
"""The parts of a spec that the options of the manifests change; the server adds `metric` itself."""
ENFORCE = f"{files.POD_SECURITY_LABEL}/enforce"
START = "apply the manifests: `sidecart kubernetes up`"
APPLY = "apply the manifests, then restart the pods: sidecars do not reload"


def findings(kubectl: Kubectl) -> list[Finding]:
    """Return the findings about a cluster; raise KubectlError if it does not answer."""
    found = [*_problems(requirements.versions(kubectl).problems())]
    plane = requirements.control_plane(kubectl)
    found += _problems(plane.problems())
    namespace = _namespace(kubectl)
    if namespace is None:
        what = f"the cluster has no namespace {names.NAMESPACE}"
        return [*found, Finding("namespace-missing", DANGER, Place(f"namespace/{names.NAMESPACE}"), what, START)]
    inside = kubectl.within(names.NAMESPACE)
    found += pod_security(namespace)
    if set(requirements.KINDS) <= plane.kinds:
        found += applied(inside.get(",".join(KINDS))["items"])
    found += secrets(inside)
    return [*found, *_sidecars(inside)]


def _problems(problems: Iterator[Problem]) -> Iterator[Finding]:
    for each in problems:
        severity = DANGER if each.is_fatal else WARNING
        yield Finding(each.rule, severity, Place(each.place), each.what, each.fix)


def _namespace(kubectl: Kubectl) -> dict[str, Any] | None:
    try:
        return kubectl.get("namespace", names.NAMESPACE)
    except KubectlError:
        return None


def pod_security(namespace: Mapping[str, Any]) -> Iterator[Finding]:
    """Check that the namespace refuses pods that are not restricted."""
    enforced = namespace["metadata"].get("labels", {}).get(ENFORCE, "nothing")
    if enforced != files.POD_SECURITY:
        what = f"the namespace enforces {enforced} instead of {files.POD_SECURITY}: it accepts pods with more rights"
        fix = f"label it {ENFORCE}={files.POD_SECURITY}"
        yield Finding("pod-security-off", WARNING, Place(f"namespace/{names.NAMESPACE}"), what, fix)


def applied(found: list[dict[str, Any]]) -> Iterator[Finding]:
    """Compare the applied objects of Dapr and the network policies with the files.

    The components tell the broker and the store: of each, the folder with the same types counts.
    """
    known = {(each["kind"], each["metadata"]["name"]): each for each in found}
    yield from _without_component(known)
    for wanted in expected(found):
        kind, name = str(wanted["kind"]), str(wanted["metadata"]["name"])
        one, place = known.get((kind, name)), Place(f"{kind.lower()}/{name}")
        if one is None and kind == "Component":
            continue  # see above
        if one is None:
            severity = WARNING if kind == "NetworkPolicy" else DANGER
            yield Finding("not-applied", severity, place, f"the {kind} {name} of the files is not applied", START)
            continue
        parts = [part for part in ("spec", "scopes") if _compared(kind, wanted, part) != _compared(kind, one, part)]
        if parts:
            what = f"the {kind} {name} differs from the files: {', '.join(_differences(kind, wanted, one))}"
            yield Finding("applied-differs", WARNING, place, what, APPLY)


def _without_component(known: Mapping[tuple[str, str], object]) -> Iterator[Finding]:
    """Report components that the apps use and that do not exist, with any type."""
    for name, use in uses_of(app_ids()).items():
        if ("Component", name) not in known:
            what = f"the Component {name} does not exist, which {', '.join(use.apps)} use"
            yield Finding("not-applied", DANGER, Place(f"component/{name}"), what, START)


def expected(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the objects that the files have for the applied broker and store."""
    types = {each["metadata"]["name"]: each["spec"].get("type") for each in found if each["kind"] == "Component"}
    for folder, kinds in ((dapr_resources.BROKERS, BROKERS), (dapr_resources.STORES, STORES)):
        for name in kinds:
            components = dapr_resources.components(f"{folder}/{name}")
            if not any(types.get(each["metadata"]["name"]) == each["spec"]["type"] for each in components):
                continue
            yield from components
            if folder == dapr_resources.BROKERS:
                yield dapr_resources.resiliency(name)
    yield from dapr_resources.configurations()
    yield from yaml.safe_load_all(network.base_file())


def _compared(kind: str, one: Mapping[str, Any], part: str) -> Any:
    found = one.get(part)
    if part == "spec" and isinstance(found, dict):
        return {name: each for name, each in found.items() if name not in PATCHED.get(kind, ())}
    return found


def _differences(kind: str, wanted: Mapping[str, Any], one: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the parts that differ."""
    if wanted.get("scopes") != one.get("scopes"):
        yield "scopes"
    first, second = _compared(kind, wanted, "spec"), _compared(kind, one, "spec")
    for name in sorted({*first, *second}):
        if first.get(name) != second.get(name):
            yield f"spec.{name}"


def secrets(inside: Kubectl) -> Iterator[Finding]:
    """Check that the Secrets exist which the pods and their sidecars read."""
    names_found = {each.partition("/")[2] for each in inside("get", "secret", "-o", "name").split()}
    for app_id in app_ids():
        for name in (names.app_token_of(app_id), names.api_token_of(app_id), names.servers_of(app_id)):
            if name not in names_found:
                what = f"the Secret {name} is missing, without which no pod of {app_id} starts"
                fix = "`sidecart manifests --secrets OVERLAY | kubectl apply -f -`"
                yield Finding("secret-missing", DANGER, Place(f"secret/{name}"), what, fix)


def _sidecars(inside: Kubectl) -> Iterator[Finding]:
    """Ask one sidecar of each app, through a port-forward."""
    with Forwards(inside, Deadline()) as forwards:
        for app_id in app_ids():
            try:
                port = forwards.port(workload_of(app_id), SIDECAR_PORT)
                token = sidecar_token(inside, app_id)
            except LaunchError as error:
                place = Place(workload_of(app_id))
                yield Finding("sidecar-unreachable", DANGER, place, str(error), "see `sidecart status --kubernetes`")
            else:
                yield from running.sidecar(f"http://127.0.0.1:{port}", token, name=sidecar_of(app_id))
