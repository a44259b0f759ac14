"""The rules of Dapr's resources in the manifests: components, scopes, Configurations, sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any

from sidecart.kubernetes import names
from sidecart.kubernetes.dapr_resources import NAME_RESOLUTION
from sidecart.kubernetes.documents import Document
from sidecart.launcher.components import uses_of
from sidecart.launcher.servers.registry import BROKERS, ENVIRONMENT, STORES
from sidecart.launcher.topic_scopes import TOPICS, publishers, readers, topic_scopes
from sidecart.launcher.topics import app_ids, service_ids

Found = tuple[str, Document]
"""A file, and one of its objects."""

PUBLISHING, SUBSCRIPTION, PROTECTED = "publishingScopes", "subscriptionScopes", "protectedTopics"


def dapr_rules(found: list[Found]) -> Iterator[str]:
    """Apply all rules of this module."""
    for folder, kind, known in (("brokers", "pubsub", BROKERS), ("stores", "state", STORES)):
        for server in known:
            yield from _components(f"{names.FOLDER}/{folder}/{server}", kind, found)
    yield from _resiliency(found)
    yield from _configurations(found)
    yield from _services(found)
    yield from _sidecars(found)


def _components(folder: str, kind: str, found: Iterable[Found]) -> Iterator[str]:
    """A folder has the components that the apps use, with the scopes of the topics."""
    inside = [each for file, each in found if str(PurePosixPath(file).parent) == folder and each["kind"] == "Component"]
    known = {each["metadata"]["name"]: each for each in inside if "type" in each.get("spec", {})}
    for name, use in uses_of(app_ids(), known).items():
        if use.kind != kind:
            continue
        component = known.get(name)
        if component is None:
            yield f"{folder}: no component {name}, which {', '.join(use.apps)} use"
            continue
        scopes = component.get("scopes", ())
        if outside := [app_id for app_id in use.apps if app_id not in scopes]:
            yield f"{folder}: the scopes of {name} lack {', '.join(outside)}"
        if others := [app_id for app_id in scopes if app_id not in use.apps]:
            yield f"{folder}: the scopes of {name} have {', '.join(others)}, which do not use it"
        if kind == "pubsub":
            yield from _topics(f"{folder}: {name}", component)


def _topics(place: str, component: Document) -> Iterator[str]:
    """All topics are protected, and each app may publish or read its own."""
    settings = {each["name"]: each.get("value", "") for each in component["spec"]["metadata"]}
    if settings.get(PROTECTED) != topic_scopes()[TOPICS]:
        yield f"{place} does not protect every topic ({PROTECTED})"
    kinds = [(PUBLISHING, publishers()), (SUBSCRIPTION, readers())]
    present = [(name, wanted) for name, wanted in kinds if name in settings]
    if not present:
        yield f"{place} has neither {PUBLISHING} nor {SUBSCRIPTION}"
    for name, wanted in present:
        allowed = dict(each.partition("=")[::2] for each in settings[name].split(";"))
        for app_id, topics in wanted.items():
            if missing := [each for each in topics if each not in allowed.get(app_id, "").split(",")]:
                yield f"{place}: {name} lacks {', '.join(missing)} of {app_id}"


def _resiliency(found: Iterable[Found]) -> Iterator[str]:
    """Each broker has one Resiliency, because the operator returns several in any sequence."""
    files = [file for file, each in found if each["kind"] == "Resiliency"]
    for broker in BROKERS:
        count = sum(str(PurePosixPath(file).parent) == f"{names.FOLDER}/brokers/{broker}" for file in files)
        if count != 1:
            yield f"{names.FOLDER}/brokers/{broker} has {count} Resiliency documents: one is needed"


def _configurations(found: Iterable[Found]) -> Iterator[str]:
    """Each Configuration denies calls by default, and resolves names to Services."""
    for file, each in found:
        if each["kind"] != "Configuration":
            continue
        spec, place = each["spec"], f"{file}: Configuration {each['metadata']['name']}"
        if spec.get("accessControl", {}).get("defaultAction") != "deny":
            yield f"{place} does not deny calls by default"
        if not spec.get("api", {}).get("allowed"):
            yield f"{place} allows every call of Dapr's API (api.allowed)"
        if spec.get("nameResolution") != NAME_RESOLUTION:
            yield f"{place} does not resolve the names of apps to their Services"


def _services(found: list[Found]) -> Iterator[str]:
    """Each app that others call has the Service to which its name leads."""
    known = {each["metadata"]["name"]: each["spec"] for _, each in found if each["kind"] == "Service"}
    for app_id in service_ids():
        spec = known.get(app_id, {})
        ports = [(each.get("port"), each.get("targetPort")) for each in spec.get("ports", ())]
        leads = spec.get("selector") == names.selector(app_id) and "clusterIP" not in spec
        if not leads or (names.SIDECAR_INTERNAL_PORT, names.SIDECAR_INTERNAL_PORT) not in ports:
            yield f"{names.FOLDER}/base has no Service {app_id} that leads to the port {names.SIDECAR_INTERNAL_PORT}"


def _sidecars(found: list[Found]) -> Iterator[str]:
    """Each app has a sidecar with its own tokens and logins, and a Configuration that exists."""
    configurations = {each["metadata"]["name"] for _, each in found if each["kind"] == "Configuration"}
    for file, each in found:
        name = each.get("metadata", {}).get("name")
        if each["kind"] not in ("Deployment", "StatefulSet") or name not in app_ids():
            continue
        annotations = each["spec"]["template"]["metadata"].get("annotations", {})
        yield from (f"{file}: {name} {problem}" for problem in _sidecar(name, annotations, configurations))


def _sidecar(app_id: str, annotations: dict[str, Any], configurations: set[str]) -> Iterator[str]:
    wanted = {
        "dapr.io/enabled": "true",
        "dapr.io/app-id": app_id,
        "dapr.io/app-token-secret": names.app_token_of(app_id),
        "dapr.io/api-token-secret": names.api_token_of(app_id),
        "dapr.io/env-from-secret": ",".join(f"{each}={names.servers_of(app_id)}:{each}" for each in ENVIRONMENT),
    }
    for name, value in wanted.items():
        if annotations.get(name) != value:
            yield f"needs the annotation {name}: {value}"
    if annotations.get("dapr.io/config") not in configurations:
        yield f"names the Configuration {annotations.get('dapr.io/config')}, which does not exist"
    if annotations.get("dapr.io/graceful-shutdown-seconds", "-1") == "-1":
        yield "needs the annotation dapr.io/graceful-shutdown-seconds"
