"""Measures how soon consumers process the first event of each topic."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sidecart.launcher.topics import app_ids, read_topics
from tests.contracts.story_replay import STORY

SECONDS_MAX = 2.0
GIVEN_UP_SECONDS = 30.0
LONG_SECONDS = 8.0
"""More than five missed health probes, one second apart: a sidecar with app health checks has ended
its subscriptions.
"""

Publish = Callable[[str, bytes], object]
Processed = Callable[[str], Mapping[str, float]]
"""The number of events that an app has processed so far, by topic."""


def publish_story(publish: Publish, processed: Processed) -> None:
    """Publish all events of the contracts' story, so that each later event is a repetition."""
    for event in STORY:
        publish(event["type"], json.dumps(event).encode())
    end = time.monotonic() + GIVEN_UP_SECONDS
    while any(not set(_topics_of(app_id)) <= set(processed(app_id)) for app_id in app_ids()):
        assert time.monotonic() < end, {app_id: processed(app_id) for app_id in app_ids()}
        time.sleep(0.1)


def late(publish: Publish, processed: Processed) -> dict[tuple[str, str], float]:
    """Publish one event of each topic, one after the other; return the late consumers and their
    seconds.
    """
    found = {}
    for topic, way in read_topics().items():
        before = {app_id: processed(app_id).get(topic, 0) for app_id in way.consumers}
        event = next(each for each in STORY if each["type"] == topic)
        publish(topic, json.dumps(event).encode())
        started = time.monotonic()
        while before and time.monotonic() - started < GIVEN_UP_SECONDS:
            for app_id in [each for each in before if processed(each).get(topic, 0) > before[each]]:
                del before[app_id]
                seconds = time.monotonic() - started
                if seconds > SECONDS_MAX:
                    found[app_id, topic] = round(seconds, 1)
            time.sleep(0.02)
        found |= dict.fromkeys(((app_id, topic) for app_id in before), GIVEN_UP_SECONDS)
    return found


def published_by(sidecars: Mapping[str, str], tokens: Mapping[str, str]) -> Publish:
    """Return a function that publishes an event through the sidecar of its publisher.

    Both map an app-id: to the URL of its sidecar, and to its token.
    """

    def publish(topic: str, body: bytes) -> None:
        publisher = read_topics()[topic].publisher
        url = f"{sidecars[publisher]}/v1.0/publish/pubsub/{topic}"
        headers = {"content-type": "application/cloudevents+json", "dapr-api-token": tokens[publisher]}
        httpx.post(url, content=body, headers=headers, trust_env=False).raise_for_status()

    return publish


def by_metrics(ports: Mapping[str, int]) -> Processed:
    """Return a counter that reads the apps' own metrics, by app-id."""
    return lambda app_id: _counted(ports[app_id])


def _counted(port: int) -> dict[str, float]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "sidecart_events_total" and sample.labels["outcome"] in ("done", "dead_letter"):
                found[sample.labels["topic"]] = found.get(sample.labels["topic"], 0) + sample.value
    return {topic: count for topic, count in found.items() if count}


def _topics_of(app_id: str) -> list[str]:
    return [name for name, topic in read_topics().items() if app_id in topic.consumers]
