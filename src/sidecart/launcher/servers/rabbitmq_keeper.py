"""Supervises sidecars next to RabbitMQ in containers, where no launcher runs.

`python -m sidecart.launcher.servers.rabbitmq_keeper --sidecar http://{app}-dapr:3500 --gateways 1`

After its connection to RabbitMQ breaks, a sidecar's component can return with too few or too many
consumers. Events for an additional consumer stay parked until the sidecar ends
(docs/explanation/failure-model.md). The broker's consumer count reveals this. The keeper shuts down
a sidecar whose count stays wrong, and the container engine restarts it. A sidecar correctly reads
nothing before its app listens, so the keeper first asks each sidecar whether it waits for its app.
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
from sidecart.launcher.topology import app_of, reader_of, readers, replica_names

LOOK_SECONDS = 5.0
LOST_SECONDS = 30.0  # a sidecar needs less to reconnect to a broker that was unreachable
WAITING_SECONDS = 300.0  # the app starts by itself, or a new sidecar may find it
CALL_SECONDS_MAX = 10.0
TOKENS = "SIDECAR_TOKENS"


class Keeper:
    """Records how long subscriptions have been read incorrectly, and when sidecars were waiting."""

    def __init__(self) -> None:
        self._since: dict[Subscription, float] = {}
        self._waiting: dict[str, float] = {}

    def to_end(self, lost: Iterable[Subscription], is_ready: Callable[[str], bool], now: float) -> list[str]:
        """Return the apps, and the further gateways such as `gateway-1`, whose sidecars should end.

        They have read incorrectly for LOST_SECONDS while they had an app, or for WAITING_SECONDS in
        any case.
        """
        self._since = {one: self._since.get(one, now) for one in lost}
        found = []
        for name in dict.fromkeys(reader_of(one) for one in self._since):
            since = min(started for one, started in self._since.items() if reader_of(one) == name)
            if not is_ready(name):
                self._waiting[name] = now
            ready_since = max(since, self._waiting.get(name, since))
            if now - ready_since >= LOST_SECONDS or now - since >= WAITING_SECONDS:
                found.append(name)
        self._since = {one: since for one, since in self._since.items() if reader_of(one) not in found}
        return found


def is_ready(address: str) -> bool:
    """Whether a sidecar has found its app; it answers 500 as long as it waits for it."""
    return _call(f"{address}/v1.0/healthz", "GET") is None


def end(address: str, token: str) -> str | None:
    """Ask a sidecar to shut down; return why the request failed, or None."""
    return _call(f"{address}/v1.0/shutdown", "POST", token)


def _call(url: str, method: str, token: str = "") -> str | None:
    request = urllib.request.Request(url, b"" if method == "POST" else None, {"dapr-api-token": token}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=CALL_SECONDS_MAX).close()
    except OSError as error:
        return str(error)
    return None


def watch(
    amqp_url: str,
    sidecar: str,
    tokens: Mapping[str, str],
    expected: Mapping[Subscription, int],
    stopped: threading.Event,
) -> None:
    """Check the consumers every few seconds until stopped.

    `tokens` are those of the sidecars, by app-id.
    """

    def ask(name: str) -> bool:
        return is_ready(sidecar.format(app=name))

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
        for name in keeper.to_end(lost, ask, time.monotonic()):
            problem = end(sidecar.format(app=name), tokens[app_of(name)])
            print(f"the sidecar of {name} reads incorrectly: {problem or 'shutting it down'}", flush=True)


def tokens_of(setting: str) -> dict[str, str]:
    """Return the tokens of the sidecars from a setting such as `one=abc,two=def`."""
    pairs = (each.partition("=") for each in setting.split(",") if each)
    return {app_id: token for app_id, _, token in pairs}


def main() -> None:
    """Read the settings and supervise until SIGTERM."""
    parser = argparse.ArgumentParser(description="Shuts down sidecars that read incorrectly from RabbitMQ.")
    parser.add_argument("--sidecar", required=True, help="the URL of an app's sidecar, with {app} for its app-id")
    parser.add_argument("--gateways", type=int, default=1, help="how many gateways run; all have one token")
    options = parser.parse_args()
    missing = [name for name in ("AMQP_URL", TOKENS) if not os.environ.get(name)]
    if missing:
        sys.exit(f"setting {', '.join(missing)}: is missing")
    tokens, expected = tokens_of(os.environ[TOKENS]), readers(replica_names(options.gateways, {}))
    if unknown := sorted({one.app_id for one in expected} - tokens.keys()):
        sys.exit(f"setting {TOKENS}: lacks {', '.join(unknown)}")
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    watch(os.environ["AMQP_URL"], options.sidecar, tokens, expected, stopped)


if __name__ == "__main__":
    main()
