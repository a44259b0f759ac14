"""What the live page is told by the launcher, read by the live page."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from cli import monitor
from cli.project import read_apps, resource_folders
from cli.shop import Options, Shop
from cli.topics import MONITOR_SUBSCRIPTIONS, SERVICES, TOPICS, subscriptions
from monitor.settings import read

PORTS = {
    "gateway": 1,
    "gateway-sidecar": 2,
    "order-1": 3,
    "order-1-sidecar": 4,
    "monitor": 5,
    "monitor-sidecar": 6,
    "mail-smtp": 7,
}
TOLD = {"BROKER": "redis", "BROKER_ADDRESS": "here:1", "STORE": "redis", "GATEWAY_URL": "g", "MAIL_URL": "m"}
TOKENS = {"APP_API_TOKEN": "a", "DAPR_API_TOKEN": "d"}


def test_it_knows_every_replica_and_its_sidecar() -> None:
    """And not itself, and no server."""
    settings = read(monitor.environment(PORTS, ["gateway", "order-1"], TOKENS, 8, TOLD))

    assert {name: PORTS[name] for name in list(PORTS)[:4]} == settings.ports
    assert (5, 8, "a", "d") == (
        settings.port,
        settings.dapr_grpc_port,
        settings.app_api_token,
        settings.dapr_api_token,
    )


@pytest.mark.parametrize("name", ["APP_PORT", "DAPR_GRPC_PORT", "SHOP_PORTS", "BROKER_ADDRESS", "GATEWAY_URL"])
def test_what_is_missing_is_named(name: str) -> None:
    """It does not start."""
    environment = monitor.environment(PORTS, ["gateway"], TOKENS, 8, TOLD)
    del environment[name]

    with pytest.raises(SystemExit, match=name):
        read(environment)


def test_ports_that_are_none_are_named() -> None:
    """It does not start."""
    with pytest.raises(SystemExit, match="SHOP_PORTS"):
        read(monitor.environment(PORTS, ["gateway"], TOKENS, 8, TOLD) | {"SHOP_PORTS": '["no"]'})


def test_its_sidecar_has_the_broker_and_no_policy_without_end() -> None:
    """An event that nobody takes any more would be offered for ever (ADR 30)."""
    [folder] = monitor.resources(resource_folders(read_apps()["gateway"].resources, "rabbitmq", "postgres"))

    assert ("brokers", "rabbitmq") == (folder.parent.name, folder.name)
    policies = [yaml.safe_load(path.read_text()) for path in Path(folder).glob("*.yaml")]
    retries = [each["spec"]["policies"]["retries"] for each in policies if each["kind"] == "Resiliency"]
    assert all(policy["maxRetries"] > 0 for each in retries for policy in each.values())


def test_it_has_its_own_port_beside_a_shop_with_one_and_any_beside_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop whose port was chosen has it where it is always found, unless that is the shop's."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        usual, chosen = one.getsockname()[1], other.getsockname()[1]
    monkeypatch.setattr(monitor, "PORT", usual)
    found = []
    for port in (usual, None, chosen):
        shop = Shop(Options("redis", port=port, folder=tmp_path, monitor=True), print)
        shop._choose_ports()
        assert shop.ports["gateway"] != shop.ports["monitor"]
        found.append(shop.ports["monitor"] == usual)

    assert [False, False, True] == found


def test_it_reads_every_topic_as_a_consumer_of_its_own() -> None:
    """Nobody else's group is touched when it goes."""
    shop = {one.consumer_id for one in subscriptions("gateway-0")}

    assert list(TOPICS) == [one.topic for one in MONITOR_SUBSCRIPTIONS]
    assert {"monitor"} == {one.consumer_id for one in MONITOR_SUBSCRIPTIONS}
    assert {"gateway-0", *SERVICES} == shop
