"""Supervision until a shop is healthy again, for tests that break something.

After a broken RabbitMQ connection, a sidecar may be one consumer short: its subscribers share one
channel and race for it. The supervisor restarts such a sidecar, under the launcher as in these
tests.
"""

from __future__ import annotations

from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System

HEALTHY_SECONDS = 240
"""The supervisor waits half a minute before each restart of a sidecar with wrong consumers."""


def until_healthy(shop: System, supervisor: Supervisor) -> None:
    """Supervise the shop until every replica is ready and reads all of its topics.

    Raises LaunchError after HEALTHY_SECONDS.
    """

    def healthy() -> bool:
        supervisor.look()
        if shop.dead or not all(shop.is_ready(name) for name in shop.replicas):
            return False
        try:
            return not shop.health.unread_subscriptions()
        except OSError:
            return False

    shop.deadline.until(healthy, HEALTHY_SECONDS, lambda: f"not healthy after {HEALTHY_SECONDS} s: {shop.dead}", 0.1)
