"""The shop of the overlay of BROKER and STORE, on the cluster that KUBECONFIG names
(`make test-kubernetes`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sidecart.kubernetes.kustomizations import OVERLAYS
from tests.e2e.shopper import Shopper
from tests.kubernetes import overlay
from tests.kubernetes.cluster.kubectl import Kubectl, from_environment
from tests.kubernetes.shop import KubernetesShop
from tests.kubernetes.tap import KubernetesShopper, KubernetesTap


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests for other servers, and the long ones without FULL=1.

    They are not skipped: a skipped test fails a suite.
    """
    chosen = OVERLAYS[overlay.chosen()]
    left_out = [item for item in items if _is_left_out(item, {chosen.broker, chosen.store})]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item, servers: set[str]) -> bool:
    only = item.get_closest_marker("only_on")
    if only and servers.isdisjoint(only.args):
        return True
    return item.get_closest_marker("full") is not None and not os.environ.get("FULL")


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """Return the kubectl of the cluster."""
    return from_environment()


@pytest.fixture(scope="session")
def shop(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesShop]:
    """Return the running shop; a test that breaks something waits until all is ready again."""
    with KubernetesShop(cluster, overlay.chosen(), tmp_path_factory.mktemp("shop"), print) as running:
        yield running


@pytest.fixture
def shopper(shop: KubernetesShop) -> Iterator[Shopper]:
    """Return a client with a tap of its own, because tests replace the pod of the broker."""
    with KubernetesTap(shop) as tap, KubernetesShopper(shop, tap) as client:
        yield client
