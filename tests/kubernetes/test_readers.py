"""RabbitMQ restarts: sidecars that come back with a wrong number of consumers are replaced."""

from __future__ import annotations

import pytest

from tests.kubernetes.consumers import wait_correct, wrong
from tests.kubernetes.shop import KubernetesShop

pytestmark = [pytest.mark.full, pytest.mark.only_on("rabbitmq")]


def test_each_queue_has_its_consumers_after_a_restart_of_the_broker(shop: KubernetesShop) -> None:
    """Without the keeper most of the queues had two for one replica, and events of one waited."""
    assert [] == wrong(shop)

    shop.kubectl("delete", "pod", "rabbitmq-0", "--grace-period=1")
    shop.kubectl("rollout", "status", "statefulset/rabbitmq", "--timeout=240s")
    shop.connect()
    wait_correct(shop)

    assert [] == wrong(shop)
