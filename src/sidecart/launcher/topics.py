"""The apps of dapr.yaml, and the publisher and consumers of each event (contracts/topics.json)."""

from dataclasses import dataclass
from functools import cache

import msgspec

from sidecart.chassis import reply_topics
from sidecart.launcher.apps import read_apps
from sidecart.launcher.documents import convert, read_json
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

CONTRACTS = "contracts"
TOPIC_LIST = f"{CONTRACTS}/topics.json"

GATEWAY = reply_topics.GATEWAY
INBOX = "inbox"
REPLIES = "replies"


@dataclass(frozen=True, slots=True)
class Topic:
    """One event's publisher, its consumers, and the pub/sub component that the consumers read."""

    publisher: str
    consumers: tuple[str, ...]
    component: str
    broadcast: bool = False
    """Whether every gateway reads it, and not only the one that waits for this reply."""


@cache
def app_ids() -> tuple[str, ...]:
    """Return the app-ids in the sequence of dapr.yaml; raise LaunchError without a project."""
    return tuple(read_apps())


@cache
def service_ids() -> tuple[str, ...]:
    """Return the app-ids without the gateway's."""
    return tuple(app_id for app_id in app_ids() if app_id != GATEWAY)


@cache
def read_topics() -> dict[str, Topic]:
    """Return the topics of the project by name; raise LaunchError if the list cannot be read."""
    topics = convert(read_json(root() / TOPIC_LIST), dict[str, object], TOPIC_LIST)
    return {name: _topic(name, entry) for name, entry in topics.items()}


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    publisher: str
    consumers: tuple[str, ...]
    component: str
    broadcast: bool = False


def _topic(name: str, entry: object) -> Topic:
    where = f"{TOPIC_LIST}: {name}"
    read = convert(entry, _Entry, where)
    for consumer in read.consumers:
        if read.consumers.count(consumer) > 1:
            raise LaunchError(f"{where} has the consumer {consumer} twice")
    if read.broadcast and GATEWAY not in read.consumers:
        raise LaunchError(f"{where} is broadcast to every {GATEWAY}: add the consumer {GATEWAY}, or remove broadcast")
    return Topic(read.publisher, read.consumers, read.component, read.broadcast)


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic that one app reads, under the app's consumer id at the broker."""

    app_id: str
    consumer_id: str
    component: str
    topic: str


MONITOR = "monitor"


def monitor_subscriptions() -> tuple[Subscription, ...]:
    """Return the live page's subscriptions, which exist only while the page has viewers."""
    return tuple(Subscription(MONITOR, MONITOR, INBOX, topic) for topic in read_topics())


def component_of(app_id: str, topic: Topic) -> str:
    """Return the component on which an app reads a topic; the gateway reads events on `replies`."""
    return REPLIES if app_id == GATEWAY else topic.component


def queue_name(consumer: str, topic: str) -> str:
    """Return the name that a sidecar gives to the queue of a consumer (RabbitMQ)."""
    return f"{consumer}-{topic}"


def probe_topic(app_id: str, pod_name: str) -> str:
    """Return the topic of an app's readiness probe, which is not in the topic list."""
    return f"Probe-{pod_name if app_id == GATEWAY else app_id}"


def subscriptions(
    pod_name: str, without: frozenset[str] = frozenset(), *, addressed: bool = False
) -> list[Subscription]:
    """Return every subscription of the running apps, including probes.

    A system is ready only when the broker knows all of them. The replicas of a service share its
    app-id as their consumer. `addressed`: several gateways run, and each reads its own replies
    and those that are broadcast.
    """
    found = []
    for app_id in app_ids():
        if app_id in without:
            continue
        if app_id == GATEWAY:
            found += gateway_subscriptions(pod_name, addressed=addressed)
            continue
        found.append(Subscription(app_id, app_id, INBOX, probe_topic(app_id, pod_name)))
        for name, topic in read_topics().items():
            if app_id in topic.consumers:
                found.append(Subscription(app_id, app_id, topic.component, name))
    return found


def gateway_subscriptions(pod_name: str, *, addressed: bool) -> list[Subscription]:
    """Return the subscriptions of one gateway.

    They are its probe, the replies that are broadcast, and its own or all other replies.
    """
    kinds = subscriptions_by_kind(pod_name)
    return [*kinds[PROBE], *kinds[BROADCAST], *kinds[OWN_REPLIES if addressed else SHARED_REPLIES]]


PROBE, BROADCAST, OWN_REPLIES, SHARED_REPLIES = "probe", "broadcast replies", "own replies", "shared replies"


def subscriptions_by_kind(pod_name: str) -> dict[str, list[Subscription]]:
    """Return all subscriptions that a gateway may have.

    It has either its own replies or the shared ones, but an earlier run may have left the others.
    """
    known = read_topics()
    topics = {
        PROBE: [probe_topic(GATEWAY, pod_name)],
        BROADCAST: [each for each in replies_by_topic() if known[each].broadcast],
        OWN_REPLIES: list(reply_topics_of(pod_name)),
        SHARED_REPLIES: [each for each in replies_by_topic() if not known[each].broadcast],
    }
    return {kind: [Subscription(GATEWAY, pod_name, REPLIES, each) for each in some] for kind, some in topics.items()}


def replies_by_topic() -> dict[str, str]:
    """Return the publisher of each topic that the gateway consumes."""
    return {name: topic.publisher for name, topic in read_topics().items() if GATEWAY in topic.consumers}


def reply_topics_of(pod_name: str) -> dict[str, str]:
    """Return the publisher of each reply topic of one gateway."""
    publishers = dict.fromkeys(replies_by_topic().values())
    return {reply_topics.reply_topic(pod_name, publisher): publisher for publisher in publishers}


def is_only_reader(one: Subscription) -> bool:
    """Return whether no other consumer ever reads the topic: it is a reply topic."""
    return one.topic in every_reply_topic()


@cache
def every_reply_topic() -> dict[str, str]:
    """Return the publisher of each reply topic of all gateways that may run."""
    return {topic: each for name in reply_topics.REQUESTERS for topic, each in reply_topics_of(name).items()}
