"""Tests of outages of apps: afterwards the first event of each of their topics is processed
promptly.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import metrics_of
from sidecart.testkit.faults.injector import send
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.first_events import LONG_SECONDS, Processed, by_metrics, late, publish_story

pytestmark = pytest.mark.own_shop


@dataclass(frozen=True, slots=True)
class Outage:
    """The way in which all apps stop, and in which they start again."""

    name: str
    begin: Callable[[System, str], None]
    seconds: float
    end: Callable[[System, str], None]


def sends(number: signal.Signals) -> Callable[[System, str], None]:
    """Return a function that sends a signal to an app."""
    return lambda shop, app_id: send([psutil.Process(shop.processes[app_id])], number)


OUTAGES = (
    Outage("killed and started at once", System.kill, 0, System.start_app),
    Outage("killed for longer than health probes allow", System.kill, LONG_SECONDS, System.start_app),
    Outage("stopped for as long", System.stop_app, LONG_SECONDS, System.start_app),
    Outage("paused for as long", sends(signal.SIGSTOP), LONG_SECONDS, sends(signal.SIGCONT)),
)


@pytest.fixture(scope="module")
def shop_and_tap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Tap]]:
    """Start a shop without a supervisor, and publish the contracts' story once; return shop and
    tap.
    """
    with System(options(tmp_path_factory.mktemp("first")), print) as shop, Tap(shop) as tap:
        publish_story(tap.publish, counted(shop))
        yield shop, tap


def counted(shop: System) -> Processed:
    """Return a counter of the events that the shop's apps have processed."""
    return by_metrics({app_id: shop.ports[metrics_of(app_id)] for app_id in app_ids()})


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_the_first_event_of_each_topic_is_prompt(shop_and_tap: tuple[System, Tap], outage: Outage) -> None:
    """All five apps stop at once, so that four outages are twenty restarts; each event is a
    repetition.
    """
    shop, tap = shop_and_tap
    for app_id in app_ids():
        outage.begin(shop, app_id)
    shop.deadline.pause(outage.seconds)
    for app_id in app_ids():
        outage.end(shop, app_id)
    for app_id in app_ids():
        shop.wait_ready(app_id)

    assert {} == late(tap.publish, counted(shop))
