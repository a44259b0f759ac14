"""The apps of dapr.yaml, and the publisher and consumers of each event (contracts/topics.json)."""

import json
from dataclasses import dataclass

from cli.project import ROOT, read_apps

CONTRACTS = ROOT / "contracts"

GATEWAY = "gateway"
APPS = tuple(read_apps())
"""The app-ids, in the order of dapr.yaml."""
SERVICES = tuple(app_id for app_id in APPS if app_id != GATEWAY)

INBOX = "inbox"
REPLIES = "replies"
MAILBUS = "mailbus"


@dataclass(frozen=True, slots=True)
class Topic:
    """One event's publisher, its consumers, and the pub/sub component that the consumers read."""

    publisher: str
    consumers: tuple[str, ...]
    component: str


def _topics() -> dict[str, Topic]:
    topics = json.loads((CONTRACTS / "topics.json").read_text(encoding="utf-8"))
    return {
        name: Topic(entry["publisher"], tuple(entry["consumers"]), entry["component"]) for name, entry in topics.items()
    }


TOPICS = _topics()


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic that one app reads, under the app's consumer id at the broker."""

    app_id: str
    consumer_id: str
    component: str
    topic: str


MONITOR = "monitor"
MONITOR_SUBSCRIPTIONS = tuple(Subscription(MONITOR, MONITOR, INBOX, topic) for topic in TOPICS)
"""The live page's subscriptions, which exist only while the page has viewers."""


def consumer_id(app_id: str, component: str, pod_name: str) -> str:
    """Return the consumer id of an app on a component.

    Each gateway replica has its own; the replicas of a service share the app-id.
    """
    return pod_name if component == REPLIES else app_id


def component_of(app_id: str, topic: Topic) -> str:
    """Return the component on which an app reads a topic; the gateway reads events on `replies`."""
    return REPLIES if app_id == GATEWAY else topic.component


def probe_topic(app_id: str, pod_name: str) -> str:
    """Return the topic of an app's readiness probe, which is not in the topic list."""
    return f"Probe-{pod_name if app_id == GATEWAY else app_id}"


def subscriptions(pod_name: str, without: frozenset[str] = frozenset()) -> list[Subscription]:
    """Return every subscription of the running apps, including probes.

    A shop is ready only when the broker knows all of them.
    """
    found = []
    for app_id in APPS:
        if app_id in without:
            continue
        component = REPLIES if app_id == GATEWAY else INBOX
        consumer = consumer_id(app_id, component, pod_name)
        found.append(Subscription(app_id, consumer, component, probe_topic(app_id, pod_name)))
        for name, topic in TOPICS.items():
            if app_id in topic.consumers:
                component = component_of(app_id, topic)
                consumer = consumer_id(app_id, component, pod_name)
                found.append(Subscription(app_id, consumer, component, name))
    return found
