"""Looks after sidecars where no launcher does: in containers, beside RabbitMQ.

`python -m cli.servers.rabbitmq_keeper --sidecar http://{app}-dapr:3500`

When its connection to RabbitMQ breaks, a sidecar's component can come back with a consumer too few or too many; what is
sent to one too many is parked until the sidecar ends (docs/reliability.md). The broker's own count shows it. A sidecar
that reads wrongly for long enough is told to end, and whoever runs containers starts it again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

from cli.catalogue import Subscription
from cli.fleet import fleet, readers
from cli.servers import rabbitmq

LOOK_SECONDS = 5.0
LOST_SECONDS = 30.0  # a sidecar takes less to come back to a broker that was away
NOBODY_SECONDS = 300.0  # of an app that is ill its sidecar reads nothing, and should not: that passes, or does not
CALL_SECONDS_MAX = 10.0


class Keeper:
    """Remembers since when what is not read as it should."""

    def __init__(self) -> None:
        self._since: dict[Subscription, float] = {}

    def to_end(self, lost: Iterable[Subscription], wanted: Iterable[Subscription], now: float) -> list[str]:
        """The apps whose sidecars have read wrongly for so long that they should end; each is named once."""
        self._since = {one: self._since.get(one, now) for one in lost}
        found = []
        for app_id in dict.fromkeys(one.app_id for one in wanted):
            times = [now - since for one, since in self._since.items() if one.app_id == app_id]
            reads_nothing = len(times) == sum(one.app_id == app_id for one in wanted)
            if times and max(times) >= (NOBODY_SECONDS if reads_nothing else LOST_SECONDS):
                found.append(app_id)
        self._since = {one: since for one, since in self._since.items() if one.app_id not in found}
        return found


def end(address: str, token: str) -> str | None:
    """Ask a sidecar to end; returns why it could not be asked, or None."""
    request = urllib.request.Request(f"{address}/v1.0/shutdown", b"", {"dapr-api-token": token}, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=CALL_SECONDS_MAX).close()
    except OSError as error:
        return str(error)
    return None


def watch(
    amqp_url: str, sidecar: str, token: str, wanted: Mapping[Subscription, int], stopped: threading.Event
) -> None:
    """Look every few seconds until told to stop."""
    keeper, now = Keeper(), 0.0
    while not stopped.wait(LOOK_SECONDS):
        now += LOOK_SECONDS
        try:
            lost: Sequence[Subscription] = rabbitmq.unserved(amqp_url, wanted)
        except OSError as error:
            print(f"the broker does not answer: {error}", flush=True)
            lost = []
        for app_id in keeper.to_end(lost, wanted, now):
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
    watch(os.environ["AMQP_URL"], options.sidecar, os.environ["DAPR_API_TOKEN"], readers(fleet(1, {})), stopped)


if __name__ == "__main__":
    main()
