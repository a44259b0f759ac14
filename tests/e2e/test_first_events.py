"""After an app was away, however it went and however long, the first event of each of its topics is taken at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from cli.shop import Shop
from cli.tap import Tap
from cli.topics import APPS
from cli.topology import metrics_of
from tests.e2e.conftest import options
from tests.e2e.first_events import LONG_SECONDS, Taken, by_metrics, late, tell_story

pytestmark = pytest.mark.own_shop


@dataclass(frozen=True, slots=True)
class Outage:
    """How all apps go away, and how they come back."""

    name: str
    begin: Callable[[Shop, str], None]
    seconds: float
    end: Callable[[Shop, str], None]


def send(number: signal.Signals) -> Callable[[Shop, str], None]:
    """A signal to an app."""
    return lambda shop, app_id: psutil.Process(shop.processes[app_id]).send_signal(number)


OUTAGES = (
    Outage("killed and started at once", Shop.kill, 0, Shop.start_app),
    Outage("killed for longer than health probes bear", Shop.kill, LONG_SECONDS, Shop.start_app),
    Outage("stopped for as long", Shop.stop_app, LONG_SECONDS, Shop.start_app),
    Outage("stands still for as long", send(signal.SIGSTOP), LONG_SECONDS, send(signal.SIGCONT)),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shop, Tap]]:
    """A shop without a supervisor, and to which the story of the contracts was told once."""
    with Shop(options(tmp_path_factory.mktemp("first")), print) as shop, Tap(shop) as tap:
        tell_story(tap.publish, counted(shop))
        yield shop, tap


def counted(shop: Shop) -> Taken:
    """What the shop's apps count."""
    return by_metrics({app_id: shop.ports[metrics_of(app_id)] for app_id in APPS})


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_the_first_event_of_each_topic_is_prompt(told: tuple[Shop, Tap], outage: Outage) -> None:
    """All five apps at once, so that four outages are twenty restarts; the event is one that was told before."""
    shop, tap = told
    for app_id in APPS:
        outage.begin(shop, app_id)
    shop.deadline.pause(outage.seconds)
    for app_id in APPS:
        outage.end(shop, app_id)
    for app_id in APPS:
        shop.wait_ready(app_id)

    assert {} == late(tap.publish, counted(shop))
