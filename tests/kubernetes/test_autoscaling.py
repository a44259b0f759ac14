"""KEDA scales the Order Service out by the events that wait, and in; nothing is lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sidecart.launcher.topics import service_ids
from tests.kubernetes import containers, overlay, rollout
from tests.kubernetes.results import keep
from tests.kubernetes.shop import KubernetesShop

SERVICE = "order"
SCALE_SECONDS = 180
"""The controller of the autoscaler looks every 15 s, and pods need some seconds."""
QUICKLY = {"stabilizationWindowSeconds": 10}
REPLICAS_MAX = 10
CLIENTS = 48
"""Each waits for its order, so as many wait at most for each second that an order is held."""

pytestmark = pytest.mark.full


@pytest.fixture
def scaled(shop: KubernetesShop, tmp_path: Path) -> Iterator[KubernetesShop]:
    """Return the shop with the option of its broker, which scales in after seconds."""
    patch = [
        {"op": "replace", "path": "/spec/pollingInterval", "value": 2},
        {
            "op": "replace",
            "path": "/spec/advanced/horizontalPodAutoscalerConfig/behavior/scaleDown",
            "value": QUICKLY,
        },
    ]
    patches = [{"target": {"kind": "ScaledObject"}, "patch": json.dumps(patch)}]
    option = f"autoscale-{shop.kind}"
    folder = overlay.kustomization(shop.overlay, tmp_path / "scaled", [option], patches)
    try:
        shop.cluster("apply", "-k", str(folder))
        shop.kubectl("wait", "--for=condition=Ready", "scaledobject", "--all", f"--timeout={SCALE_SECONDS}s")
        yield shop
    finally:
        shop.kubectl("delete", "scaledobject,triggerauthentication", "--all", "--timeout=60s")
        shop.kubectl("delete", "networkpolicy", "autoscaler", "--ignore-not-found")
        for name in service_ids():
            shop.kubectl("scale", shop.workload(name), "--replicas=1")
        shop.wait_all_ready()


def test_the_order_service_scales_out_and_in_with_nothing_lost(scaled: KubernetesShop, tmp_path: Path) -> None:
    """Its only replica is stopped until others have come; then all of them process the events."""
    shop = scaled
    most = 0

    def replicas() -> int:
        nonlocal most
        found = int(shop.kubectl.get(shop.workload(SERVICE))["spec"]["replicas"])
        most = max(most, found)
        return found

    def stand_still() -> None:
        (pod,) = shop.pods(SERVICE)
        send(pod, signal.SIGSTOP)
        try:
            shop.deadline.until(lambda: replicas() > 1, SCALE_SECONDS, lambda: f"no scale out: {state(shop)}", 0.5)
            shop.kubectl("rollout", "status", shop.workload(SERVICE), f"--timeout={SCALE_SECONDS}s")
        finally:
            send(pod, signal.SIGCONT)
        shop.deadline.until(lambda: replicas() == 1, SCALE_SECONDS, lambda: f"no scale in: {state(shop)}", 0.5)

    started_and_ended = [*service_ids()] * REPLICAS_MAX  # KEDA scales the other services, too
    result = rollout.run(shop, "Order Service scaled by KEDA", tmp_path, stand_still, started_and_ended, CLIENTS)

    keep(result, f"autoscaling-{shop.overlay}")
    print(f"\nat most {most} replicas\n{rollout.table([result])}\n{result.failed}")
    assert most > 1
    assert [] == result.audit.findings
    # a paused process answers no read of an order
    assert all(each.startswith("read after /order/create") for each in result.failed)


def send(pod: dict[str, Any], number: signal.Signals) -> None:
    """Send a signal to the app of a pod."""
    for pid in containers.processes(pod, containers.APP):
        os.kill(pid, number)


def state(shop: KubernetesShop) -> str:
    """Return what the autoscaler says."""
    return shop.kubectl("describe", "scaledobject,hpa", SERVICE)[-2000:]
