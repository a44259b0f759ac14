"""The manifests for Kubernetes: they are what their sources say, and a mutant of them fails."""

from __future__ import annotations

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import yaml

from sidecart.kubernetes import checks, names, pods, servers
from sidecart.kubernetes.checks import on_disk, problems, rules
from sidecart.kubernetes.files import manifests
from sidecart.kubernetes.options import SCALER
from sidecart.launcher.project import root
from sidecart.launcher.servers.login_templates import KEEPER
from sidecart.launcher.topics import GATEWAY, app_ids, read_topics

FOLDER = names.FOLDER
TEXTS = manifests()
OBJECTS = {file: [each for each in yaml.safe_load_all(text) if each] for file, text in TEXTS.items()}
COMPOSE: dict[str, Any] = yaml.safe_load((root() / "tye-or-compose/docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (root() / "tye-or-compose/Dockerfile").read_text(encoding="utf-8")

Change = Callable[[list[dict[str, Any]]], None]


def documents(file: str) -> list[dict[str, Any]]:
    """Return the objects of one generated file."""
    return deepcopy(OBJECTS[f"{FOLDER}/{file}"])


def one(found: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the first object of a kind."""
    return next(each for each in found if each["kind"] == kind)


def container(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the container of the workload among these objects."""
    workload = next(each for each in found if each["kind"] in checks.WORKLOADS)
    app: dict[str, Any] = workload["spec"]["template"]["spec"]["containers"][0]
    return app


def setting(found: list[dict[str, Any]], component: str, name: str) -> dict[str, Any]:
    """Return one setting of a component."""
    settings = next(each for each in found if each["metadata"]["name"] == component)["spec"]["metadata"]
    return next(each for each in settings if each["name"] == name)


def rename(mapping: dict[str, Any], old: str, new: str) -> None:
    """Give a field another name."""
    mapping[new] = mapping.pop(old)


def without(found: list[dict[str, Any]], kind: str, name: str | None = None) -> None:
    """Remove the objects of a kind."""
    found[:] = [each for each in found if each["kind"] != kind or name not in (None, each["metadata"]["name"])]


def less(scopes: dict[str, Any], topic: str) -> None:
    """Remove a topic from the scopes."""
    scopes["value"] = scopes["value"].replace(f",{topic}", "")


@pytest.mark.parametrize("file", TEXTS)
def test_a_file_is_up_to_date(file: str) -> None:
    """Its sources are components/, dapr/, dapr.yaml, contracts/topics.json and the gateway."""
    path = root() / file

    assert path.is_file(), f"{file} is missing: run `./sidecart manifests`"
    assert TEXTS[file] == path.read_text(encoding="utf-8"), f"{file} is old: run `./sidecart manifests`"


def test_the_files_on_disk_have_no_problem() -> None:
    """Every rule holds, and no file is without a source."""
    assert [] == problems(on_disk())


@pytest.mark.parametrize("app_id", app_ids())
def test_each_app_has_a_file(app_id: str) -> None:
    """The topology of dapr.yaml is complete, in each overlay by the base."""
    [base] = documents("base/kustomization.yaml")

    assert f"{app_id}.yaml" in base["resources"]
    assert app_id == one(documents(f"base/{app_id}.yaml"), "ServiceAccount")["metadata"]["name"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_each_consumer_is_scaled_by_each_of_its_topics(broker: str) -> None:
    """A topic without a trigger could pile up."""
    found = documents(f"options/autoscale-{broker}/scaled-objects.yaml")
    scaled = {each["metadata"]["name"]: each["spec"]["triggers"] for each in found if each["kind"] == "ScaledObject"}
    triggers = [(app_id, str(each["metadata"])) for app_id, some in scaled.items() for each in some]
    readers = [(app_id, name) for name, topic in read_topics().items() for app_id in topic.consumers]
    expected = [(app_id, name) for app_id, name in readers if app_id != GATEWAY]

    assert len(expected) == len(triggers)
    for app_id, topic in expected:
        assert any(name == app_id and topic in text for name, text in triggers), (app_id, topic)


MUTANTS: dict[str, tuple[str, Change, str]] = {
    **{
        f"no {probe}": (
            "base/order.yaml",
            lambda found, probe=probe: container(found).pop(probe),  # type: ignore[misc]  # mypy cannot infer it
            f"base/order.yaml: Deployment order has no {probe}",
        )
        for probe in checks.PROBES
    },
    "no limit of memory": (
        "base/gateway.yaml",
        lambda found: container(found)["resources"]["limits"].pop("memory"),
        "StatefulSet gateway has no memory in limits",
    ),
    "no limit of temporary files": (
        "base/order.yaml",
        lambda found: one(found, "Deployment")["spec"]["template"]["spec"]["volumes"][0].update(emptyDir={}),
        "Deployment order has no sizeLimit of the emptyDir tmp",
    ),
    "a writable root file system": (
        "base/user.yaml",
        lambda found: container(found)["securityContext"].pop("readOnlyRootFilesystem"),
        "needs readOnlyRootFilesystem: True",
    ),
    "no seccomp profile": (
        "servers/redis/redis.yaml",
        lambda found: one(found, "StatefulSet")["spec"]["template"]["spec"]["securityContext"].pop("seccompProfile"),
        "needs runAsNonRoot and the seccompProfile",
    ),
    "latest": (
        "base/billing.yaml",
        lambda found: container(found).update(image="sidecart-app:latest"),
        "has the image sidecart-app:latest",
    ),
    "no tag": (
        "servers/rabbitmq/rabbitmq.yaml",
        lambda found: container(found).update(image="rabbitmq"),
        "has the image rabbitmq: name an exact version",
    ),
    "no disruption budget": (
        "base/notification.yaml",
        lambda found: without(found, "PodDisruptionBudget"),
        "Deployment notification has no PodDisruptionBudget",
    ),
    "no workload of an app": (
        "base/user.yaml",
        lambda found: without(found, "Deployment"),
        "no Deployment user, which dapr.yaml has",
    ),
    "a gateway without stable names": (
        "base/gateway.yaml",
        lambda found: one(found, "StatefulSet").update(kind="Deployment"),
        "no StatefulSet gateway",
    ),
    "a misspelled field": (
        "base/order.yaml",
        lambda found: rename(container(found), "imagePullPolicy", "imagePulPolicy"),
        "base/order.yaml: Deployment has the unknown field imagePulPolicy",
    ),
    "a misspelled annotation": (
        "base/order.yaml",
        lambda found: rename(
            one(found, "Deployment")["spec"]["template"]["metadata"]["annotations"],
            "dapr.io/log-as-json",
            "dapr.io/logs-as-json",
        ),
        "unknown field dapr.io/logs-as-json",
    ),
    "a missing component": (
        "brokers/rabbitmq/replies.yaml",
        lambda found: without(found, "Component", "replies"),
        "brokers/rabbitmq: no component replies, which gateway use",
    ),
    "a component without its app": (
        "brokers/redis/mailbus.yaml",
        lambda found: one(found, "Component").update(scopes=["order"]),
        "the scopes of mailbus lack notification",
    ),
    "a component that any sidecar loads": (
        "stores/redis/statestore.yaml",
        lambda found: one(found, "Component").pop("scopes"),
        "stores/redis: the scopes of statestore lack gateway",
    ),
    "a component of another app": (
        "brokers/redis/replies.yaml",
        lambda found: one(found, "Component").update(scopes=["gateway", "user"]),
        "the scopes of replies have user, which do not use it",
    ),
    "a further component to publish without all apps": (
        "brokers/rabbitmq/pubsub-3.yaml",
        lambda found: one(found, "Component").update(scopes=["order"]),
        "the scopes of pubsub-3 lack gateway, user, billing, notification",
    ),
    "a missing publishing scope of a further component": (
        "brokers/rabbitmq/pubsub-4.yaml",
        lambda found: less(setting(found, "pubsub-4", "publishingScopes"), "OrderPaid"),
        "brokers/rabbitmq: pubsub-4: publishingScopes lacks OrderPaid of order",
    ),
    "a missing publishing scope": (
        "brokers/redis/pubsub.yaml",
        lambda found: less(setting(found, "pubsub", "publishingScopes"), "OrderPaid"),
        "publishingScopes lacks OrderPaid of order",
    ),
    "a missing subscription scope": (
        "brokers/rabbitmq/inbox.yaml",
        lambda found: less(setting(found, "inbox", "subscriptionScopes"), "OrderPaymentRequested"),
        "subscriptionScopes lacks OrderPaymentRequested of billing",
    ),
    "an unprotected topic": (
        "brokers/redis/inbox.yaml",
        lambda found: less(setting(found, "inbox", "protectedTopics"), "OrderPaid"),
        "inbox does not protect every topic",
    ),
    "two policies of retries": (
        "brokers/rabbitmq/resiliency.yaml",
        lambda found: found.append(found[0]),
        "brokers/rabbitmq has 2 Resiliency documents",
    ),
    "access by default": (
        "base/configurations.yaml",
        lambda found: found[0]["spec"]["accessControl"].update(defaultAction="allow"),
        "does not deny calls by default",
    ),
    "names of apps that lead to old pods": (
        "base/configurations.yaml",
        lambda found: found[0]["spec"].pop("nameResolution"),
        "does not resolve the names of apps to their Services",
    ),
    "no Service for a name": (
        "base/order.yaml",
        lambda found: without(found, "Service", "order"),
        "base has no Service order that leads to the port 50002",
    ),
    "a Service for other pods": (
        "base/order.yaml",
        lambda found: one(found, "Service")["spec"].update(selector={"app": "order"}),
        "base has no Service order that leads to the port 50002",
    ),
    "a Service without an address": (
        "base/order.yaml",
        lambda found: one(found, "Service")["spec"].update(clusterIP="None"),
        "base has no Service order that leads to the port 50002",
    ),
    "every call of Dapr's API": (
        "base/configurations.yaml",
        lambda found: found[1]["spec"].pop("api"),
        "allows every call of Dapr's API",
    ),
    "the tokens of another app": (
        "base/user.yaml",
        lambda found: one(found, "Deployment")["spec"]["template"]["metadata"]["annotations"].update(
            {"dapr.io/api-token-secret": "order-api-token"}
        ),
        "user needs the annotation dapr.io/api-token-secret: user-api-token",
    ),
    "no denial of other traffic": (
        "base/network-policies.yaml",
        lambda found: without(found, "NetworkPolicy", "default-deny"),
        "no NetworkPolicy that denies all traffic",
    ),
    "pods of any kind": (
        "base/namespace.yaml",
        lambda found: found[0]["metadata"].pop("labels"),
        "the Namespace needs the label",
    ),
    "scaled to zero": (
        "options/autoscale-redis/scaled-objects.yaml",
        lambda found: one(found, "ScaledObject")["spec"].update(minReplicaCount=0),
        "needs a minReplicaCount of at least 1",
    ),
    "a component that no kustomization lists": (
        "brokers/rabbitmq/kustomization.yaml",
        lambda found: found[0]["resources"].remove("replies.yaml"),
        "brokers/rabbitmq/replies.yaml is in no kustomization",
    ),
    "an overlay of a store that does not exist": (
        "overlays/redis/kustomization.yaml",
        lambda found: found[0]["components"].append("../../stores/rediss"),
        "overlays/redis/kustomization.yaml: ../../stores/rediss does not exist",
    ),
    "a Secret": (
        "trial/issuer.yaml",
        lambda found: found.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token-issuer"}}),
        "a Secret must not be in the repository",
    ),
}
"""Maps a mutant to its file, its change, and a part of the line that reports it."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_fails(mutant: str) -> None:
    """A rule names the mistake, also if the generator itself made it."""
    file, change, expected = MUTANTS[mutant]
    changed = documents(file)
    change(changed)
    others = [(path, each) for path, found in OBJECTS.items() if path != f"{FOLDER}/{file}" for each in found]

    lines = list(rules([*others, *((f"{FOLDER}/{file}", each) for each in changed)]))

    assert any(expected in line for line in lines), lines
    assert all(line.startswith(FOLDER) for line in lines), lines


def test_a_changed_a_missing_and_an_additional_file_fail() -> None:
    """The lines name the file."""
    file = f"{FOLDER}/stores/redis/statestore.yaml"
    changed = {**TEXTS, file: TEXTS[file].replace("50ms", "2s")}
    missing = {path: text for path, text in TEXTS.items() if path != file}
    additional = {**TEXTS, f"{FOLDER}/base/more.yaml": "kind: ConfigMap\n"}
    broken = {**TEXTS, file: "a: [\n"}

    assert [f"{file} is old: run `./sidecart manifests`"] == problems(changed)
    assert f"{file} is missing: run `./sidecart manifests`" in problems(missing)
    assert f"{FOLDER}/base/more.yaml has no source: remove it, or move it to your own folder" in problems(additional)
    assert problems(broken)[0].startswith(f"{file} is not YAML")


@pytest.mark.parametrize("image", ["redis", "redis:latest", "redis:7", "sidecart-app:", "redis:bookworm"])
def test_an_image_without_an_exact_version_is_refused(image: str) -> None:
    """A tag that moves starts other code after a restart."""
    assert not checks.PINNED.fullmatch(image)


def test_the_images_and_the_settings_of_servers_are_those_of_the_containers() -> None:
    """One fact in two files: a change of one must reach the other."""
    services = COMPOSE["services"]
    conf = (root() / "tye-or-compose/rabbitmq.conf").read_text(encoding="utf-8")
    redis = [each for each in services["redis"]["command"] if "acl" not in each and "maxmemory}" not in each]

    assert f"image: {names.APP_IMAGE}" in (root() / "tye-or-compose/docker-compose.yml").read_text(encoding="utf-8")
    assert dict(names.SERVER_IMAGES) == {name: services[name]["image"] for name in names.SERVER_IMAGES}
    ours = [each for each in servers.REDIS.args if "acl" not in each]
    assert [re.sub(r"\$\{.*:-(.*)\}", r"\1", each) for each in redis] == ours
    assert servers.CONSUMER_TIMEOUT in conf
    assert f"USER {pods.UID}:{pods.UID}" in DOCKERFILE
    assert KEEPER == SCALER


def test_components_keep_their_reasons_and_the_marks_of_the_doctor() -> None:
    """A reader of the manifests finds the reason of each setting, and so does the doctor."""
    text = TEXTS[f"{FOLDER}/brokers/redis/pubsub.yaml"]

    assert "# doctor: publish-only" in text
    assert "# Acknowledged entries stay in the stream" in text
    assert "envRef: TOPIC" not in text
