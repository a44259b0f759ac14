"""Looks after sidecars where no launcher does: in containers, beside RabbitMQ.

`python -m cli.servers.rabbitmq_keeper --sidecar http://{app}-dapr:3500`

When its connection to RabbitMQ breaks, a sidecar's component can come back with a consumer too few or too many; what is
sent to one too many is parked until the sidecar ends (docs/reliability.md). The broker's own count shows it. A sidecar
that reads wrongly for long enough is told to end, and whoever runs containers starts it again. Of an app that is
unhealthy a sidecar reads nothing, and should not: each is asked whether its app is healthy.
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

from cli.servers import rabbitmq
from cli.topics import Subscription
from cli.topology import readers, replica_names

LOOK_SECONDS = 5.0
LOST_SECONDS = 30.0  # a sidecar takes less to come back to a broker that was unreachable
UNHEALTHY_SECONDS = 300.0  # an app that is unhealthy gets healthy by itself, or a new sidecar may help it
CALL_SECONDS_MAX = 10.0


class Keeper:
    """Remembers since when what is not read as it should, and when an app was seen unhealthy."""

    def __init__(self) -> None:
        self._since: dict[Subscription, float] = {}
        self._unhealthy: dict[str, float] = {}

    def to_end(self, lost: Iterable[Subscription], is_healthy: Callable[[str], bool], now: float) -> list[str]:
        """The apps whose sidecars should end: they have read wrongly for too long, and for as long the app was well."""
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
    """Whether a sidecar says that its own app is healthy; it answers for the app without asking it while it is not."""
    return _call(f"{address}/v1.0/invoke/{app_id}/method/healthz", "GET", token) is None


def end(address: str, token: str) -> str | None:
    """Ask a sidecar to end; returns why it could not be asked, or None."""
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
    """Look every few seconds until told to stop."""

    def ask(app_id: str) -> bool:
        return is_healthy(sidecar.format(app=app_id), app_id, token)

    keeper, message = Keeper(), ""
    while not stopped.wait(LOOK_SECONDS):
        try:
            lost: Sequence[Subscription] = rabbitmq.unread(amqp_url, expected)
            now = "the broker answers"
        except OSError as error:
            lost, now = [], f"the broker does not answer: {error}"
        if now != message:  # not every five seconds
            print(now, flush=True)
            message = now
        for app_id in keeper.to_end(lost, ask, time.monotonic()):
            problem = end(sidecar.format(app=app_id), token)
            print(f"the sidecar of {app_id} does not read as it should: {problem or 'told to end'}", flush=True)


def main() -> None:
    """Read the settings, watch until SIGTERM."""
    parser = argparse.ArgumentParser(description="Ends sidecars that do not read from RabbitMQ as they should.")
    parser.add_argument("--sidecar", required=True, help="where an app's sidecar is, with {app} for its app-id")
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
