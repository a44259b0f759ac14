"""Supervises sidecars next to RabbitMQ in containers, where no launcher runs.

`python -m sidecart.launcher.servers.rabbitmq_keeper --sidecar http://{app}-dapr:3500`

After its connection to RabbitMQ breaks, a sidecar's component can return with too few or too many
consumers. Events for an additional consumer stay parked until the sidecar ends
(docs/explanation/failure-model.md). The broker's consumer count reveals this. The keeper shuts down
a sidecar whose count stays wrong, and the container engine restarts it. A sidecar correctly reads
nothing for an unhealthy app, so the keeper first asks each sidecar whether its app is healthy.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence

from sidecart.launcher.servers.rabbitmq import RabbitMq
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import readers, replica_names

LOOK_SECONDS = 5.0
LOST_SECONDS = 30.0  # a sidecar needs less to reconnect to a broker that was unreachable
UNHEALTHY_SECONDS = 300.0  # an unhealthy app recovers by itself, or a new sidecar may help it
CALL_SECONDS_MAX = 10.0


class Keeper:
    """Records how long subscriptions have been read incorrectly, and when apps were unhealthy."""

    def __init__(self) -> None:
        self._since: dict[Subscription, float] = {}
        self._unhealthy: dict[str, float] = {}

    def to_end(self, lost: Iterable[Subscription], is_healthy: Callable[[str], bool], now: float) -> list[str]:
        """Return the apps whose sidecars should end.

        They have read incorrectly for LOST_SECONDS while the app was healthy, or for
        UNHEALTHY_SECONDS in any case.
        """
        self._since = {one: self._since.get(one, now) for one in lost}
        found = []
        for app_id in dict.fromkeys(one.app_id for one in self._since):
            since = min(started for one, started in self._since.items() if one.app_id == app_id)
            if not is_healthy(app_id):
                self._unhealthy[app_id] = now
            healthy_since = max(since, self._unhealthy.get(app_id, since))
            if now - healthy_since >= LOST_SECONDS or now - since >= UNHEALTHY_SECONDS:
                found.append(app_id)
        self._since = {one: since for one, since in self._since.items() if one.app_id not in found}
        return found


def is_healthy(address: str, app_id: str, token: str) -> bool:
    """Whether a sidecar reports its own app as healthy.

    For an unhealthy app it answers without calling the app.
    """
    return _call(f"{address}/v1.0/invoke/{app_id}/method/healthz", "GET", token) is None


def end(address: str, token: str) -> str | None:
    """Ask a sidecar to shut down; return why the request failed, or None."""
    return _call(f"{address}/v1.0/shutdown", "POST", token)


def _call(url: str, method: str, token: str) -> str | None:
    request = urllib.request.Request(url, b"" if method == "POST" else None, {"dapr-api-token": token}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=CALL_SECONDS_MAX).close()
    except OSError as error:
        return str(error)
    return None


def watch(
    amqp_url: str, sidecar: str, token: str, expected: Mapping[Subscription, int], stopped: threading.Event
) -> None:
    """Check the consumers every few seconds until stopped."""

    def ask(app_id: str) -> bool:
        return is_healthy(sidecar.format(app=app_id), app_id, token)

    keeper, broker, message = Keeper(), RabbitMq(), ""
    while not stopped.wait(LOOK_SECONDS):
        try:
            lost: Sequence[Subscription] = broker.unread(amqp_url, expected)
            now = "the broker answers"
        except OSError as error:
            lost, now = [], f"the broker does not answer: {error}"
        if now != message:  # only on a change, not every five seconds
            print(now, flush=True)
            message = now
        for app_id in keeper.to_end(lost, ask, time.monotonic()):
            problem = end(sidecar.format(app=app_id), token)
            print(f"the sidecar of {app_id} reads incorrectly: {problem or 'shutting it down'}", flush=True)


def main() -> None:
    """Read the settings and supervise until SIGTERM."""
    parser = argparse.ArgumentParser(description="Shuts down sidecars that read incorrectly from RabbitMQ.")
    parser.add_argument("--sidecar", required=True, help="the URL of an app's sidecar, with {app} for its app-id")
    options = parser.parse_args()
    missing = [name for name in ("AMQP_URL", "DAPR_API_TOKEN") if not os.environ.get(name)]
    if missing:
        sys.exit(f"setting {', '.join(missing)}: is missing")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    watch(os.environ["AMQP_URL"], options.sidecar, os.environ["DAPR_API_TOKEN"], readers(replica_names(1, {})), stopped)


if __name__ == "__main__":
    main()
