"""On Redis acknowledged events go after their time, and none goes that a service still needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import psutil
import pytest
import valkey

from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.servers.valkey import ENV
from sidecart.launcher.streams import RETENTION
from sidecart.launcher.topology import metrics_of
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.replicas import start_pair, stop_pair
from tests.e2e.shopper import SECONDS, Shopper

pytestmark = [
    pytest.mark.own_shop,
    pytest.mark.only_on_broker("redis"),  # RabbitMQ removes consumed messages itself
]

RETENTION_SECONDS = 10
CREATED, REQUESTED = "UserCreated", "UserCreateRequested"
"""A topic that several services consume, and one that the User Service consumes alone."""

PASSED = "sidecart_trimmer_passed_timestamp_seconds"


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop that keeps acknowledged events for some seconds."""
    chosen = options(tmp_path_factory.mktemp("trimmed"))
    with System(replace(chosen, settings={**chosen.settings, RETENTION: str(RETENTION_SECONDS)}), print) as running:
        yield running


@pytest.fixture
def shopper(trimmed: System) -> Iterator[Shopper]:
    """A client of the shop with a tap, whose groups count as the others do."""
    with Tap(trimmed) as tap, Shopper(trimmed, tap) as client:
        yield client


@pytest.fixture
def server(trimmed: System) -> Iterator[valkey.Valkey]:
    """A client of the broker."""
    with valkey.Valkey.from_url(f"redis://{trimmed.state.addresses[ENV]}") as client:
        yield client


def ids(server: valkey.Valkey, topic: str, since: str = "-") -> list[str]:
    """Return the ids of the events that a stream has, from one on."""
    found: Any = server.xrange(topic, min=since)
    return [each.decode() for each, _ in found]


def behind(server: valkey.Valkey, event: str) -> set[str]:
    """Return the groups that have not read an event, or not acknowledged all that they read."""
    groups: Any = server.xinfo_groups(CREATED)
    return {each["name"].decode() for each in groups if each["pending"] or each["last-delivered-id"] < event.encode()}


def age_seconds(server: valkey.Valkey, event: str) -> float:
    """Return the age of an event by the clock of the server."""
    now: Any = server.time()
    return float(now[0] + now[1] / 1e6 - int(event.partition("-")[0]) / 1e3)


def metric(shop: System, name: str) -> float:
    """Return the value of a series of the trimmer; 0 before it has one."""
    url = f"http://127.0.0.1:{shop.ports[metrics_of(TRIMMER)]}/metrics"
    try:
        text = httpx.get(url, trust_env=False).text
    except httpx.TransportError:
        return 0.0
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def until(shop: System, condition: Callable[[], bool], problem: str) -> None:
    """Wait for a condition."""
    shop.deadline.until(condition, SECONDS, lambda: problem, 0.05)


def wait_for_a_pass(shop: System) -> None:
    """Wait until the trimmer has looked at every stream twice: once may have begun before."""
    for _ in range(2):
        before = metric(shop, PASSED)
        until(shop, lambda: metric(shop, PASSED) > before, "it does not pass")  # noqa: B023 - it is called at once


def test_acknowledged_events_go_after_their_time_and_not_before(
    shopper: Shopper, server: valkey.Valkey, trimmed: System
) -> None:
    """A newer event stays until it is old enough, too."""
    shopper.register()
    old = ids(server, CREATED)[-1]
    until(trimmed, lambda: age_seconds(server, old) > RETENTION_SECONDS / 2, "no time passes")
    shopper.register()
    new = ids(server, CREATED)[-1]
    assert old != new

    until(trimmed, lambda: old not in ids(server, CREATED), "the old event stays")
    assert age_seconds(server, old) >= RETENTION_SECONDS
    until(trimmed, lambda: new not in ids(server, CREATED), "the new event stays")
    assert age_seconds(server, new) >= RETENTION_SECONDS
    assert 0 < metric(trimmed, f'sidecart_trimmed_entries_total{{topic="{CREATED}"}}')
    assert 0 == metric(trimmed, "sidecart_trimmer_errors_total")


def test_nothing_goes_that_a_stopped_service_needs(shopper: Shopper, server: valkey.Valkey, trimmed: System) -> None:
    """The others have acknowledged it long ago. When the service is back it processes everything,
    and then the stream shrinks.
    """
    stop_pair(trimmed, "billing")
    try:
        users = [shopper.register()["user_id"] for _ in range(5)]
        needed, requested = ids(server, CREATED)[-5:], ids(server, REQUESTED)[-1]
        until(trimmed, lambda: requested not in ids(server, REQUESTED), "acknowledged events of another topic stay")
        wait_for_a_pass(trimmed)

        assert age_seconds(server, needed[-1]) > RETENTION_SECONDS
        assert needed == ids(server, CREATED, needed[0])
        assert {"billing"} == behind(server, needed[-1])
        assert RETENTION_SECONDS < metric(trimmed, f'sidecart_stream_lag_seconds{{topic="{CREATED}"}}')
        assert len(needed) <= metric(trimmed, f'sidecart_stream_lag_entries{{topic="{CREATED}"}}')
        line = f"{CREATED}: billing needs entries that are older than {RETENTION_SECONDS} s"
        assert line in trimmed.state.processes.last_lines(TRIMMER)
    finally:
        start_pair(trimmed, "billing")
    trimmed.wait_ready("billing")

    for user_id in users:
        shopper.event("BillingAccountCreated", user_id)
    until(trimmed, lambda: not set(needed) & set(ids(server, CREATED)), "the stream does not shrink")
    wait_for_a_pass(trimmed)
    assert 0 == metric(trimmed, f'sidecart_stream_lag_seconds{{topic="{CREATED}"}}')


def test_a_killed_trimmer_restarts(shopper: Shopper, server: valkey.Valkey, trimmed: System) -> None:
    """Its metrics keep their port, and it trims again."""
    supervisor, before = Supervisor(trimmed, print), trimmed.processes[TRIMMER]
    psutil.Process(before).kill()
    until(trimmed, lambda: TRIMMER in trimmed.dead, "it does not die")
    supervisor.look()
    shopper.register()
    event = ids(server, CREATED)[-1]

    assert before != trimmed.processes[TRIMMER]
    until(trimmed, lambda: event not in ids(server, CREATED), "it does not trim")
    assert 0 < metric(trimmed, f'sidecart_trimmed_entries_total{{topic="{CREATED}"}}')
