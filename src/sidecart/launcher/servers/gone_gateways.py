"""Removes what a gateway that was scaled in has left at the broker.

`python -m sidecart.launcher.servers.gone_gateways [--after SECONDS]`

Each gateway reads its replies under its own name, on topics of its own. After a scale-in no sidecar
reads there, and the broker keeps the events. The launcher removes them when it starts. In a cluster
this program does it: it removes the subscriptions of a gateway that had no reader for some time, by
default GONE_SECONDS. A gateway that comes back subscribes again. RabbitMQ knows the readers of each
queue; so there also goes what a gateway that still runs has read as the single one, or as one of
several. Redis knows the last read only, and an idle reader looks like none.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from sidecart.chassis.reply_topics import REQUESTERS
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers import rabbitmq, valkey
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import BROADCAST, PROBE, subscriptions_by_kind

FIRST = REQUESTERS[0]
"""It always exists."""
LOOK_SECONDS = 30.0
BROKER_OF_STREAMS = "redis"
GONE_SECONDS = 600.0
"""Longer than a gateway takes to move to another node, or to return after a crash."""
ALIVE = Path("/tmp/looked")
"""The file that the program touches at each look, so that a probe sees that it works."""


class Absences:
    """Since when the events of a gateway have no reader, by its name and their kind."""

    def __init__(self, gone_seconds: float = GONE_SECONDS) -> None:
        self._gone_seconds = gone_seconds
        self._since: dict[str, float] = {}

    @property
    def names(self) -> frozenset[str]:
        """The ones that were absent at the last look."""
        return frozenset(self._since)

    def gone(self, abandoned: Iterable[str], now: float) -> list[str]:
        """Return the ones that have been absent for the whole time without a break."""
        self._since = {name: self._since.get(name, now) for name in abandoned}
        return [name for name, since in self._since.items() if now - since >= self._gone_seconds]


class Remover:
    """Looks at one broker."""

    def __init__(self, broker: Broker, address: str, gone_seconds: float = GONE_SECONDS) -> None:
        self._broker = broker
        self._address = address
        self._absences = Absences(gone_seconds)
        kinds = {name: subscriptions_by_kind(name) for name in REQUESTERS}
        self._of_gateway = {name: [one for kind in each.values() for one in kind] for name, each in kinds.items()}
        self._subscriptions = {
            f"{name}: {kind}": (name, some)
            for name, by_kind in kinds.items()
            for kind, some in by_kind.items()
            if name != FIRST or kind not in (PROBE, BROADCAST)
        }

    @property
    def absent(self) -> frozenset[str]:
        """The gateways and the kinds of events that had no reader at the last look."""
        return self._absences.names

    def look(self, now: float) -> dict[str, int]:
        """Remove what is due; return the number of removed subscriptions by gateway and kind.

        Raises OSError if the broker is unreachable.
        """
        first = self._of_gateway[FIRST]
        abandoned = [
            title
            for title, (name, some) in self._subscriptions.items()
            if self._broker.is_abandoned(self._address, some, self._of_gateway[name], first)
        ]
        gone = self._absences.gone(abandoned, now)
        return {title: self._broker.remove(self._address, self._subscriptions[title][1]) for title in gone}


def watch(remover: Remover, stopped: threading.Event) -> None:
    """Look again and again until stopped; print each change."""
    message = ""
    while True:
        ALIVE.touch()
        try:
            for name, count in remover.look(time.monotonic()).items():
                print(f"{name} had no reader: removed {count} subscriptions", flush=True)
            now = "the broker answers"
        except OSError as error:
            now = f"the broker does not answer: {error}"
        if now != message:  # only on a change
            print(now, flush=True)
            message = now
        if stopped.wait(LOOK_SECONDS):
            return


def chosen(environ: Mapping[str, str]) -> tuple[Broker, str]:
    """Return the broker that the settings name, and its address; raise LaunchError without one.

    AMQP_URL wins, because the settings of a system on RabbitMQ also name the Redis of its records,
    unless BROKER names the other one: the containers have the settings of both.
    """
    if (address := environ.get(rabbitmq.ENV)) and environ.get("BROKER") != BROKER_OF_STREAMS:
        return rabbitmq.RabbitMq(), address
    if environ.get(valkey.ENV):
        return valkey.Valkey(), valkey.address_in(environ)
    raise LaunchError(f"set {rabbitmq.ENV} or {valkey.ENV} to the address of the broker")


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the program's arguments."""
    parser = argparse.ArgumentParser(description="Removes what gateways that were scaled in left at the broker.")
    parser.add_argument(
        "--after",
        type=float,
        default=GONE_SECONDS,
        metavar="SECONDS",
        help=f"how long a gateway must be absent, {LOOK_SECONDS:g} or more; default {GONE_SECONDS:g}",
    )
    return parser


def main() -> None:
    """Read the settings and look until SIGTERM."""
    parser = arguments()
    after = parser.parse_args().after
    if not after >= LOOK_SECONDS:  # also for NaN
        parser.error(f"--after {after:g}: less than {LOOK_SECONDS:g} s, the time between two looks")
    try:
        broker, address = chosen(os.environ)
    except LaunchError as error:
        sys.exit(str(error))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    watch(Remover(broker, address, after), stopped)


if __name__ == "__main__":
    main()
