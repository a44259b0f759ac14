"""Trimming under load with a stopped service: nothing that it needs goes, and it misses nothing.

TRIMMING_MINUTES sets how long the service is stopped (default 1).
docs/appendix/reliability-results.md has the figures of ten minutes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import valkey

from bench.soak import place_orders
from bench.unpaced import UNPACED
from sidecart.launcher.lifecycle.start import MAILS
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.servers import valkey as valkey_server
from sidecart.launcher.servers.mailbox import MAILS_MAX, StoredMail
from sidecart.launcher.streams import RETENTION
from sidecart.launcher.topics import read_topics
from sidecart.testkit.contents import backlog, lengths
from tests.e2e.replicas import start_pair, stop_pair

STOPPED_SECONDS = 60 * float(os.environ.get("TRIMMING_MINUTES", "1"))
STOPPED = "notification"
RETENTION_SECONDS = 30
LATE_SECONDS = 20 + 10
"""The documented time until the trimmer has removed an event, and some for a busy machine."""
PER_SECOND = 8.0
LOOK_SECONDS = 10.0
CATCH_UP_SECONDS_MAX = 600
CALL_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where the stopped service stands in a stream."""

    added: int
    """The events that the stream ever had."""
    read_id: str
    """The last event that was delivered to the service."""


def positions(client: Any) -> dict[str, Position]:
    """Return where the stopped service stands in each of its streams; it acknowledged all."""
    found = {}
    for topic, declared in read_topics().items():
        if STOPPED not in declared.consumers:
            continue
        [group] = [each for each in client.xinfo_groups(topic) if each["name"].decode() == STOPPED]
        assert 0 == group["pending"], topic
        added = client.xinfo_stream(topic)["entries-added"]
        found[topic] = Position(added, group["last-delivered-id"].decode())
    return found


def missing(client: Any, stopped: Mapping[str, Position]) -> dict[str, int]:
    """Return by topic how many events that were added since the stop are not in the stream."""
    found = {}
    for topic, position in stopped.items():
        with client.pipeline(transaction=True) as pipeline:
            pipeline.xinfo_stream(topic).xrange(topic, min=f"({position.read_id}")
            stream, waiting = pipeline.execute()
        if lost := stream["entries-added"] - position.added - len(waiting):
            found[topic] = lost
    return found


def oldest_seconds(client: Any, topic: str) -> float:
    """Return the age of the oldest event of a stream by the server's clock; 0 if it has none."""
    seconds, microseconds = client.time()
    first = client.xrange(topic, count=1)
    return seconds + microseconds / 1e6 - int(first[0][0].partition(b"-")[0]) / 1e3 if first else 0.0


@contextmanager
def load(shop: System, statuses: Counter[int]) -> Iterator[None]:
    """Order at the rate for the block, and wait for the answers at its end."""
    done = threading.Event()
    caller = threading.Thread(target=lambda: asyncio.run(place_orders(shop, PER_SECOND, statuses, done)))
    caller.start()
    try:
        yield
    finally:
        done.set()
        caller.join(CALL_SECONDS_MAX)


def mails(shop: System) -> Counter[str]:
    """Return how often each mail arrived, by its Message-ID.

    The journal has twice as many mails as the mail catcher shows.
    """
    lines = (shop.options.folder / "data" / MAILS).read_bytes().splitlines()
    found = Counter(mail.message_id for mail in map(StoredMail.of_line, lines) if mail is not None)
    assert found.total() < 2 * MAILS_MAX, "the journal has lost mails: set a lower rate"
    return found


@dataclass(slots=True)
class Figures:
    """The figures of the time while the service was stopped, and of its return."""

    looks: int = 0
    needed: int = 0
    """The events that the stopped service needed at the end."""
    others_seconds: float = 0.0
    """The age of the oldest event in the streams that it does not read."""
    peak: int = 0
    shrunk: int = 0
    catch_up_seconds: float = 0.0


def watch_stopped(shop: System, client: Any, stopped: Mapping[str, Position]) -> Figures:
    """Look at the streams until the time is over; fail if an event is missing."""
    figures, began = Figures(), time.monotonic()
    while time.monotonic() - began < STOPPED_SECONDS:
        shop.deadline.pause(LOOK_SECONDS)
        assert {} == missing(client, stopped)
        figures.looks += 1
        others = (oldest_seconds(client, topic) for topic in lengths(shop) if topic not in stopped)
        figures.others_seconds = max(figures.others_seconds, *others)
    figures.peak = sum(lengths(shop).values())
    figures.needed = sum(client.xinfo_stream(topic)["entries-added"] - at.added for topic, at in stopped.items())
    return figures


def wait_until_short(shop: System, client: Any, figures: Figures) -> None:
    """Wait until no stream has an event that is older than the retention time."""
    returned = time.monotonic()

    def longest() -> float:
        return max(oldest_seconds(client, topic) for topic in lengths(shop))

    shop.deadline.until(
        lambda: longest() <= RETENTION_SECONDS + LATE_SECONDS,
        CATCH_UP_SECONDS_MAX,
        lambda: f"the oldest event is {longest():.0f} s old",
        1.0,
    )
    figures.catch_up_seconds, figures.shrunk = time.monotonic() - returned, sum(lengths(shop).values())


def test_a_stopped_service_misses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its streams grow, the others keep their length; when it is back, all have their length, and
    each order gets its mail once.
    """
    options = Options("redis", "redis", folder=tmp_path, env=UNPACED, settings={RETENTION: str(RETENTION_SECONDS)})
    statuses = Counter[int]()
    with System(options, print) as shop, valkey.Valkey.from_url(valkey_server.url(shop.broker_address)) as client:
        stop_pair(shop, STOPPED)
        stopped = positions(client)
        with load(shop, statuses):
            figures = watch_stopped(shop, client, stopped)
            start_pair(shop, STOPPED)
            shop.wait_ready(STOPPED)
            wait_until_short(shop, client, figures)
        orders = statuses[201] + statuses[202]

        def is_done() -> bool:
            return len(mails(shop)) >= orders and not any(one.undelivered + one.pending for one in backlog(shop))

        shop.deadline.until(is_done, CATCH_UP_SECONDS_MAX, lambda: f"{len(mails(shop))} mails for {orders} orders", 5.0)
        found = mails(shop)

    with capsys.disabled():
        print(f"\n{STOPPED} stopped for {STOPPED_SECONDS:.0f} s, {PER_SECOND:g} orders a second: {dict(statuses)}")
        print(f"{figures}; {len(found)} mails, {sum(found.values()) - len(found)} of them twice")
    assert orders == statuses.total()
    assert figures.others_seconds <= RETENTION_SECONDS + LATE_SECONDS
    assert {orders: orders} == {len(found): sum(found.values())}
