"""The launcher's settings for the live page, parsed by the live page."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import yaml

from sidecart.launcher import monitor
from sidecart.launcher.apps import read_apps, resource_folders
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import choose_ports, plan_of
from sidecart.launcher.ports import LOWEST, is_free
from sidecart.launcher.tokens import Tokens
from sidecart.launcher.topics import monitor_subscriptions, read_topics, service_ids, subscriptions
from sidecart.monitor.settings import read

PORTS = {
    "gateway": 1,
    "gateway-sidecar": 2,
    "order-1": 3,
    "order-1-sidecar": 4,
    "monitor": 5,
    "monitor-sidecar": 6,
    "mail-smtp": 7,
}
SETTINGS = {
    "AUTH": "off",
    "BROKER": "redis",
    "BROKER_ADDRESS": "here:1",
    "STORE": "redis",
    "GATEWAY_URL": "g",
    "MAIL_URL": "m",
    "PAGE_KEY": "k",
    "OIDC_ISSUER": "https://issuer.example",
}
TOKENS = Tokens({name: f"token of {name}" for name in PORTS})


def test_the_page_knows_every_replica_and_its_sidecar() -> None:
    """The settings include every replica and sidecar, but neither the page itself nor a server."""
    settings = read(monitor.environment(PORTS, ["gateway", "order-1"], TOKENS, 8, SETTINGS))

    assert {name: PORTS[name] for name in list(PORTS)[:4]} == settings.ports
    assert {name: TOKENS[name] for name in list(PORTS)[:4]} == settings.tokens
    assert (5, 8, TOKENS["monitor"], TOKENS["monitor-sidecar"]) == (
        settings.port,
        settings.dapr_grpc_port,
        settings.app_api_token,
        settings.dapr_api_token,
    )


@pytest.mark.parametrize(
    "name", ["APP_PORT", "DAPR_GRPC_PORT", "PROCESS_PORTS", "BROKER_ADDRESS", "GATEWAY_URL", "PAGE_KEY"]
)
def test_a_missing_setting_is_named(name: str) -> None:
    """The page exits with the name of the missing setting."""
    environment = monitor.environment(PORTS, ["gateway"], TOKENS, 8, SETTINGS)
    del environment[name]

    with pytest.raises(SystemExit, match=name):
        read(environment)


def test_malformed_ports_are_named() -> None:
    """The page exits with the name of the malformed setting."""
    with pytest.raises(SystemExit, match="PROCESS_PORTS"):
        read(monitor.environment(PORTS, ["gateway"], TOKENS, 8, SETTINGS) | {"PROCESS_PORTS": '["no"]'})


def test_the_pages_sidecar_may_only_subscribe(tmp_path: Path) -> None:
    """daprd replaces the gateway's list of allowed calls by this one."""
    monitor.write_configuration(tmp_path / "monitor.yaml")
    allowed = yaml.safe_load((tmp_path / "monitor.yaml").read_text())["spec"]["api"]["allowed"]

    assert [("subscribe", "grpc"), ("metadata", "http")] == [(each["name"], each["protocol"]) for each in allowed]


def test_the_pages_sidecar_has_the_broker_and_no_unlimited_policy() -> None:
    """A policy without a limit would redeliver an abandoned event forever (ADR 30)."""
    [folder] = monitor.resources(resource_folders(read_apps()["gateway"].resources, "rabbitmq", "postgres"))

    assert ("brokers", "rabbitmq") == (folder.parent.name, folder.name)
    policies = [yaml.safe_load(path.read_text()) for path in Path(folder).glob("*.yaml")]
    retries = [each["spec"]["policies"]["retries"] for each in policies if each["kind"] == "Resiliency"]
    assert all(policy["maxRetries"] > 0 for each in retries for policy in each.values())


def test_the_page_has_its_usual_port_only_with_a_chosen_shop_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page uses its usual port if the shop's port was chosen, unless that is the usual port."""
    # below the ports that the launcher allocates, and those that the system gives to connections
    free = filter(is_free, random.sample(range(10_000, LOWEST), 1_000))
    usual, chosen = next(free), next(free)
    monkeypatch.setattr(monitor, "PORT", usual)
    found = []
    for port in (usual, None, chosen):
        ports = choose_ports(plan_of(Options("redis", port=port, folder=tmp_path, monitor=True)))
        assert ports["gateway"] != ports["monitor"]
        found.append(ports["monitor"] == usual)

    assert [False, False, True] == found


def test_the_page_reads_every_topic_as_a_separate_consumer() -> None:
    """The page has its own consumer, so its end affects no other consumer group."""
    shop = {one.consumer_id for one in subscriptions("gateway-0")}

    assert list(read_topics()) == [one.topic for one in monitor_subscriptions()]
    assert {"monitor"} == {one.consumer_id for one in monitor_subscriptions()}
    assert {"gateway-0", *service_ids()} == shop
