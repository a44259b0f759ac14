"""Who is in the shop and which event goes from whom to whom (contracts/topics.json): for launcher, tap and tests."""

import json
from dataclasses import dataclass
from pathlib import Path

CONTRACTS = Path(__file__).parents[1] / "contracts"

GATEWAY = "gateway"
SERVICES = ("user", "billing", "order", "notification")
APPS = (GATEWAY, *SERVICES)

INBOX = "inbox"
REPLIES = "replies"
MAILBUS = "mailbus"


@dataclass(frozen=True, slots=True)
class Topic:
    """One event's way: the app that publishes it, the apps that consume it, and the component they read it by."""

    publisher: str
    consumers: tuple[str, ...]
    component: str


def _topics() -> dict[str, Topic]:
    topics = json.loads((CONTRACTS / "topics.json").read_text(encoding="utf-8"))
    return {name: Topic(way["publisher"], tuple(way["consumers"]), way["component"]) for name, way in topics.items()}


TOPICS = _topics()


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic that one app reads, under the consumer id that the broker knows it by."""

    app_id: str
    consumer_id: str
    component: str
    topic: str


MONITOR = "monitor"
MONITOR_SUBSCRIPTIONS = tuple(Subscription(MONITOR, MONITOR, INBOX, topic) for topic in TOPICS)
"""What the live page reads while somebody looks at it, and nobody otherwise."""


def consumer_id(app_id: str, component: str, pod_name: str) -> str:
    """The consumer id of an app on a component: a gateway replica has its own, every other app shares its app-id."""
    return pod_name if component == REPLIES else app_id


def component_of(app_id: str, topic: Topic) -> str:
    """The component on which an app reads a topic: the gateway reads what others publish on `replies`."""
    return REPLIES if app_id == GATEWAY else topic.component


def probe_topic(app_id: str, pod_name: str) -> str:
    """The topic of an app's own readiness probe; it is outside the topic list."""
    return f"Probe-{pod_name if app_id == GATEWAY else app_id}"


def subscriptions(pod_name: str, without: frozenset[str] = frozenset()) -> list[Subscription]:
    """Every subscription of the running apps, probes included; a broker must know them all before the shop is ready."""
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
