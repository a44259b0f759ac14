"""RabbitMQ restarts: sidecars that come back with a wrong number of consumers are replaced."""

from __future__ import annotations

import pytest

from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.servers.rabbitmq_keeper import LOST_SECONDS
from sidecart.launcher.topology import readers
from tests.kubernetes.shop import KubernetesShop

READERS_SECONDS = LOST_SECONDS + 120
"""The keeper waits half a minute, and a new pod needs some seconds; the next may be wrong too."""

pytestmark = [pytest.mark.full, pytest.mark.only_on("rabbitmq")]


def wrong(shop: KubernetesShop) -> list[str]:
    """Return the queues with another number of consumers than replicas, or why none is known."""
    try:
        found = RabbitMq().unread(shop.broker_address, readers(shop.replicas))
    except OSError as error:
        return [str(error)]
    return [f"{one.consumer_id}-{one.topic}" for one in found]


def test_each_queue_has_its_consumers_after_a_restart_of_the_broker(shop: KubernetesShop) -> None:
    """Without the keeper most of the queues had two for one replica, and events of one waited."""
    assert [] == wrong(shop)

    shop.kubectl("delete", "pod", "rabbitmq-0", "--grace-period=1")
    shop.kubectl("rollout", "status", "statefulset/rabbitmq", "--timeout=240s")
    shop.connect()
    shop.deadline.until(lambda: not wrong(shop), READERS_SECONDS, lambda: f"wrong: {wrong(shop)}", 1.0)

    shop.wait_all_ready()
    assert [] == wrong(shop)
