"""Rollouts under load: no request fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.commands import COMMANDS
from sidecart.launcher.topics import GATEWAY, service_ids
from sidecart.testkit.acting import Acting
from sidecart.testkit.faults.ledger import Ledger
from sidecart.testkit.faults.load import Load, Plan
from tests.faults.requests import ShopRequests
from tests.kubernetes.shop import KubernetesShop

CLIENTS = 4
SEED = 1


@contextmanager
def no_failed_request(shop: KubernetesShop, folder: Path) -> Iterator[None]:
    """Callers send requests during the block; each must be accepted at its first attempt."""
    working = True
    with closing(Ledger(folder / "ledger.jsonl")) as ledger:
        plan = Plan(SEED, 0, 0.0, clients=CLIENTS, seconds=5.0)
        load = Load(shop.url, plan, ShopRequests(), ledger, Acting(shop.issuer_folder, COMMANDS), lambda: working)
        load.start()
        started = time.monotonic()
        try:
            yield
        finally:
            working = False
            load.join(lambda: None)
        statuses = [each.status for each in ledger.intents.values()]
        print(
            f"{len(statuses)} requests in {time.monotonic() - started:.0f} s: "
            f"{statuses.count(201)} answered 201, {statuses.count(202)} answered 202, failed calls: {ledger.broken}"
        )
        assert {} == ledger.broken
        assert len(statuses) > 50


@pytest.fixture
def two_gateways(shop: KubernetesShop) -> Iterator[KubernetesShop]:
    """Return the shop with two gateways, as the base has them; the trial overlays have one."""
    scale(shop, GATEWAY, 2)
    yield shop
    scale(shop, GATEWAY, 1)
    shop.wait_all_ready()


def scale(shop: KubernetesShop, name: str, number: int) -> None:
    """Scale a workload, and wait until it has this number of pods."""
    shop.kubectl("scale", shop.workload(name), f"--replicas={number}")
    shop.kubectl("rollout", "status", shop.workload(name), "--timeout=180s")
    shop.until(lambda: len(shop.pods(name)) == number, f"{number} pods of {name}")


def test_a_rolling_restart_fails_no_request(two_gateways: KubernetesShop, tmp_path: Path) -> None:
    """Every app is replaced, one after the other."""
    shop = two_gateways
    with no_failed_request(shop, tmp_path):
        for name in (*service_ids(), GATEWAY):
            shop.kubectl("rollout", "restart", shop.workload(name))
            shop.kubectl("rollout", "status", shop.workload(name), "--timeout=240s")


def test_scaling_services_fails_no_request(two_gateways: KubernetesShop, tmp_path: Path) -> None:
    """From 2 to 3 to 1."""
    shop = two_gateways
    scale(shop, "order", 2)
    with no_failed_request(shop, tmp_path):
        scale(shop, "order", 3)
        scale(shop, "order", 1)
