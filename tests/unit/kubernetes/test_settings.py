"""The settings, the times and the flows of the pods fit the programs in them."""

from __future__ import annotations

import os
from typing import Any

import pytest
import yaml

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.chassis.server.serve import STOP_SECONDS_MAX
from sidecart.chassis.settings import SettingError
from sidecart.edge.settings import DRAIN_SECONDS_MAX
from sidecart.kubernetes import kustomizations, names, network, pods, settings
from sidecart.kubernetes.dapr_resources import components, variables_of
from sidecart.kubernetes.files import manifests
from sidecart.launcher.apps import read_apps
from sidecart.launcher.lifecycle.settings import readers_of
from sidecart.launcher.servers.registry import BROKERS, ENVIRONMENT, STORES
from sidecart.launcher.sidecar import SHUTDOWN_SECONDS
from sidecart.launcher.topic_scopes import pod_names
from sidecart.launcher.topics import GATEWAY, app_ids

TEXTS = manifests()
INJECTED = {"DAPR_HTTP_PORT": "3500", "DAPR_GRPC_PORT": "50001"}
"""The injector adds them to each container (dapr 1.18.2, pkg/injector/patcher)."""


def literals(file: str) -> dict[str, dict[str, str]]:
    """Return the settings in a kustomization, by ConfigMap."""
    document = yaml.safe_load(TEXTS[f"{names.FOLDER}/{file}"])
    return {
        each["name"]: dict(line.partition("=")[::2] for line in each["literals"])
        for each in document["configMapGenerator"]
    }


def environment(app_id: str, added: str) -> dict[str, str]:
    """Return the environment of an app: fixed variables, base, and what a part adds."""
    fixed = {each["name"]: each.get("value", "a-secret") for each in pods.environment(app_id)}
    fixed |= {"POD_NAME": f"{app_id}-0"} if "POD_NAME" in fixed else {}
    name = names.settings_of(app_id)
    added_settings = literals(added).get(name, {})
    return {**fixed, **INJECTED, **literals("base/kustomization.yaml")[name], **added_settings}


@pytest.mark.parametrize("api", ["", "http", "grpc"])
@pytest.mark.parametrize("added", ["trial/kustomization.yaml", "overlays/external/kustomization.yaml"])
@pytest.mark.parametrize("app_id", app_ids())
def test_each_app_accepts_its_settings(app_id: str, added: str, api: str) -> None:
    """An app stops at its start otherwise; SIDECAR_API needs no other change."""
    for read in readers_of(app_id):
        read({**environment(app_id, added), "SIDECAR_API": api})


def test_the_base_alone_has_no_issuer() -> None:
    """A forgotten issuer stops the gateway instead of opening it."""
    *_, read = readers_of(GATEWAY)

    with pytest.raises(SettingError, match="OIDC_ISSUER"):
        read(environment(GATEWAY, "options/tracing/kustomization.yaml"))


def test_only_apps_that_send_mails_know_the_mail_server() -> None:
    """The launcher finds them in the same way."""
    assert ["notification"] == settings.senders()


def test_a_pod_has_the_time_to_stop() -> None:
    """Kubernetes kills what still runs after the grace period; the sidecar stops last."""
    app_seconds = pods.DRAIN_SECONDS + STOP_SECONDS_MAX

    assert pods.DRAIN_SECONDS <= DRAIN_SECONDS_MAX
    assert app_seconds + SHUTDOWN_SECONDS < pods.GRACE_SECONDS
    for app in read_apps().values():
        template = pods.template(app)
        assert pods.GRACE_SECONDS == template["spec"]["terminationGracePeriodSeconds"]
        assert str(SHUTDOWN_SECONDS) == template["metadata"]["annotations"]["dapr.io/graceful-shutdown-seconds"]
        [container] = template["spec"]["containers"]
        assert ("lifecycle" in container) == (app.app_id != GATEWAY), "a gateway drains by itself"


def test_the_pods_of_the_gateway_have_the_names_of_its_logins() -> None:
    """A StatefulSet numbers its pods; the servers know these names only."""
    found = yaml.safe_load_all(TEXTS[f"{names.FOLDER}/base/gateway.yaml"])
    workload = next(each for each in found if each["kind"] == "StatefulSet")

    assert [f"{workload['metadata']['name']}-{number}" for number in range(GATEWAYS_MAX)] == pod_names(GATEWAY)
    assert str(GATEWAYS_MAX) == literals("base/kustomization.yaml")[names.settings_of(GATEWAY)]["GATEWAYS"]
    assert workload["spec"]["replicas"] <= len(pod_names(GATEWAY))


def test_a_sidecar_has_each_variable_that_its_components_read() -> None:
    """The injector sets only the variables of the annotation, and daprd reads no other."""
    folders = [f"components/brokers/{each}" for each in BROKERS] + [f"components/stores/{each}" for each in STORES]
    read = variables_of(each for folder in folders for each in components(folder))

    assert set(ENVIRONMENT) == set(read)


def test_a_service_is_asked_with_its_token() -> None:
    """The script of the probe is Python, and contains no token."""
    compile(pods.READY_SCRIPT, "probe", "exec")
    assert "os.environ['APP_API_TOKEN']" in pods.READY_SCRIPT
    assert os.environ.get("APP_API_TOKEN", "no token") not in pods.READY_SCRIPT


def allows(source: str, target: str, port: int) -> bool:
    """Return whether the policies of the base and the servers let a pod call another one."""
    labels = {
        **{app_id: names.labels(app_id, names.kind_of(app_id)) for app_id in app_ids()},
        **{server: names.labels(server, names.SERVER_KIND) for server in names.SERVER_PORTS},
        names.ISSUER: names.labels(names.ISSUER, names.TRIAL_KIND),
        names.MAIL: names.labels(names.MAIL, names.TRIAL_KIND),
    }
    files = [file for file in TEXTS if "/options/" not in file and "/external/" not in file]
    policies = [each for file in files for each in yaml.safe_load_all(TEXTS[file]) if each["kind"] == "NetworkPolicy"]
    ways = (("egress", "to", source, target), ("ingress", "from", target, source))
    return all(
        any(
            selects(each["spec"]["podSelector"], labels[here])
            and port in {number["port"] for number in rule.get("ports", ())}
            and any(selects(peer.get("podSelector", NOTHING), labels[there]) for peer in rule.get(key, ()))
            for each in policies
            for rule in each["spec"].get(direction, ())
        )
        for direction, key, here, there in ways
    )


NOTHING = {"matchLabels": {"no": "pod"}}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return whether a selector selects a pod with these labels."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", ()))


@pytest.mark.parametrize(
    ("source", "target", "port", "expected"),
    [
        ("gateway", "order", 50002, True),
        ("order", "billing", 50002, False),
        ("order", "gateway", 50002, False),
        ("gateway", "order", 8000, False),
        ("order", "redis", 6379, True),
        ("gateway", "rabbitmq", 5672, True),
        ("billing", "postgres", 5432, True),
        ("mail", "redis", 6379, False),
        ("gateway", "issuer", 8030, True),
        ("order", "issuer", 8030, False),
        ("notification", "mail", 1025, True),
        ("order", "mail", 1025, False),
    ],
)
def test_only_the_flows_of_the_topology_are_allowed(source: str, target: str, port: int, expected: bool) -> None:
    """Both ends of a flow have a policy, because all traffic is denied by default."""
    assert expected == allows(source, target, port)


def test_the_overlays_combine_the_brokers_and_the_stores() -> None:
    """Each server of the registry is in an overlay."""
    chosen = kustomizations.OVERLAYS.values()

    assert set(BROKERS) == {each.broker for each in chosen}
    assert set(STORES) == {each.store for each in chosen}
    assert names.SERVER_PORTS.keys() == {*BROKERS, *STORES}
    assert [] == [each for each in network.MAIL_PORTS if each in names.SERVER_PORTS.values()]
