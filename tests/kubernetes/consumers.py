"""The consumers of the queues of RabbitMQ, which a keeper corrects after a restart."""

from __future__ import annotations

from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.servers.rabbitmq_keeper import LOST_SECONDS
from sidecart.launcher.topology import readers
from tests.kubernetes.shop import KubernetesShop

CORRECT_SECONDS = LOST_SECONDS + 120
"""The keeper waits half a minute, and a new pod needs some seconds; the next may be wrong too."""


def wrong(shop: KubernetesShop) -> list[str]:
    """Return the queues with another number of consumers than replicas, or why none is known."""
    try:
        found = RabbitMq().unread(shop.broker_address, readers(shop.replicas, addressed=shop.is_addressed))
    except OSError as error:
        return [str(error)]
    return [f"{one.consumer_id}-{one.topic}" for one in found]


def wait_correct(shop: KubernetesShop) -> None:
    """Wait until the keeper has no pod left to evict, and connect to the pods that run then."""
    shop.deadline.until(lambda: not wrong(shop), CORRECT_SECONDS, lambda: f"wrong: {wrong(shop)}", 1.0)
    shop.wait_all_ready()
