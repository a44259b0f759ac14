"""After an app was away, however it went and however long, the first event of each of its topics is taken at once."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from cli.catalogue import APPS, TOPICS
from cli.fleet import metrics_of
from cli.shop import Shop
from cli.tap import Tap
from tests.contracts.told import STORY
from tests.e2e.conftest import options

FIRST_EVENT_SECONDS_MAX = 2.0
LONG_SECONDS = 8.0
"""Five missed health probes, a second apart, and some more: a sidecar that asks its app has ended its subscriptions."""

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
    """A shop that nobody looks after, and to which the story of the contracts was told once."""
    with Shop(options(tmp_path_factory.mktemp("first")), print) as shop, Tap(shop) as tap:
        for event in STORY:
            tap.publish(event["type"], json.dumps(event).encode())
        for app_id in APPS:
            shop.patience.until(lambda app=app_id: set(topics_of(app)) <= set(taken(shop, app)), 60, lambda: "not told")
        yield shop, tap


def topics_of(app_id: str) -> list[str]:
    """What an app reads."""
    return [name for name, topic in TOPICS.items() if app_id in topic.consumers]


def taken(shop: Shop, app_id: str) -> dict[str, float]:
    """How many events of each topic an app has taken so far, by its own figures."""
    url = f"http://127.0.0.1:{shop.ports[metrics_of(app_id)]}/metrics"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "sidecart_events_total" and sample.labels["outcome"] in ("done", "dead_letter"):
                topic = sample.labels["topic"]
                found[topic] = found.get(topic, 0) + sample.value
    return {topic: count for topic, count in found.items() if count}


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: outage.name)
def test_the_first_event_of_each_topic_is_prompt(told: tuple[Shop, Tap], outage: Outage) -> None:
    """All five apps at once, so that four outages are twenty restarts; the event is one that was told before."""
    shop, tap = told
    for app_id in APPS:
        outage.begin(shop, app_id)
    shop.patience.pause(outage.seconds)
    for app_id in APPS:
        outage.end(shop, app_id)
    for app_id in APPS:
        shop.wait_ready(app_id)

    late = {}
    for topic in TOPICS:
        seconds = {}
        before = {app_id: taken(shop, app_id) for app_id in TOPICS[topic].consumers}
        event = next(each for each in STORY if each["type"] == topic)
        tap.publish(topic, json.dumps(event).encode())
        began = time.monotonic()
        while len(seconds) < len(before) and time.monotonic() - began < 30:
            for app_id, counts in before.items():
                if app_id not in seconds and taken(shop, app_id).get(topic, 0) > counts.get(topic, 0):
                    seconds[app_id] = time.monotonic() - began
            time.sleep(0.02)
        for app_id in before:
            if seconds.get(app_id, 99) > FIRST_EVENT_SECONDS_MAX:
                late[app_id, topic] = round(seconds.get(app_id, 99), 1)
    assert {} == late
