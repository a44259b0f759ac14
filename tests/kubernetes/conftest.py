"""The shop of the overlay BROKER, on the cluster that KUBECONFIG names (`make test-kubernetes`)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.shopper import Shopper
from tests.kubernetes.cluster.kubectl import Kubectl, from_environment
from tests.kubernetes.shop import KubernetesShop
from tests.kubernetes.tap import KubernetesShopper, KubernetesTap


def overlay() -> str:
    """Return the overlay of this run."""
    return os.environ.get("BROKER", "redis")


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """Return the kubectl of the cluster."""
    return from_environment()


@pytest.fixture(scope="session")
def shop(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesShop]:
    """Return the running shop; a test that breaks something waits until all is ready again."""
    with KubernetesShop(cluster, overlay(), tmp_path_factory.mktemp("shop"), print) as running:
        yield running


@pytest.fixture
def shopper(shop: KubernetesShop) -> Iterator[Shopper]:
    """Return a client with a tap of its own, because tests replace the pod of the broker."""
    with KubernetesTap(shop) as tap, KubernetesShopper(shop, tap) as client:
        yield client
