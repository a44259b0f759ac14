"""The memory and the CPU time of each container, beside its request and limit, and beside the
launcher's.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.unpaced import UNPACED
from bench.usage import cpu_seconds
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.tap import APP_ID, Tap
from tests.e2e.shopper import Shopper
from tests.kubernetes import orders, usage
from tests.kubernetes.results import keep
from tests.kubernetes.shop import KubernetesShop

ORDERS = 1000
SHARE_MAX = 0.8
"""Of the limit: the rest is for a peak."""

pytestmark = pytest.mark.full


def test_each_container_stays_below_its_limit(shop: KubernetesShop, shopper: Shopper, tmp_path: Path) -> None:
    """Each app and each sidecar has a request and a limit above its use."""
    orders.complete(shopper, ORDERS // 10)  # the first ones cost more
    before = usage.measure_again(shop)
    statuses = orders.complete(shopper, ORDERS)
    found = usage.measure_again(shop)
    spent = usage.spent(before, found)
    overlay = OVERLAYS[shop.overlay]
    options = Options(overlay.broker, overlay.store, folder=tmp_path, env=UNPACED)
    with System(options, print) as system, Tap(system) as tap, Shopper(system, tap) as client:
        orders.complete(client, ORDERS // 10)
        # the tap of the cluster runs outside of it
        tap_sidecar = sidecar_of(APP_ID)
        processes = {name: pid for name, pid in system.processes.items() if pid != os.getpid() and name != tap_sidecar}
        cpu = cpu_seconds(processes)
        orders.complete(client, ORDERS)
        launcher = {name: seconds - cpu[name] for name, seconds in cpu_seconds(processes).items()}

    result = usage.Result(shop.overlay, shop.seconds_to_answer, ORDERS, spent, launcher, found)
    keep(result, f"usage-{shop.overlay}")
    print(f"\n{usage.table(result)}\n")
    assert {201, 202} >= set(statuses)
    assert {(app_id, name) for app_id in app_ids() for name in ("app", "daprd")} <= {
        (one.app, one.container) for one in found
    }
    assert [] == [one for one in found if one.memory_bytes > SHARE_MAX * one.memory_limit_bytes]
