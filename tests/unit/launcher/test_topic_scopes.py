"""The scopes of the sidecars follow from the topic list: each app gets its own topics only."""

from __future__ import annotations

import pytest

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.launcher.topic_scopes import PUBLISHERS, READERS, TOPICS, publisher_of, topic_scopes, variables
from sidecart.launcher.topics import GATEWAY, MONITOR, app_ids, every_reply_topic, read_topics, subscriptions
from sidecart.launcher.topology import pod_name_of, replicas_of


def scoped(name: str) -> dict[str, set[str]]:
    """Parse one variable as daprd does (pkg/scopes)."""
    found = (each.split("=") for each in topic_scopes()[name].split(";"))
    return {app_id: set(topics.split(",")) for app_id, topics in found}


def test_only_the_publisher_may_publish_a_topic() -> None:
    """The live page and the tap publish nothing."""
    publishers = scoped(PUBLISHERS)

    assert set(app_ids()) == set(publishers)
    for name, topic in read_topics().items():
        assert [topic.publisher] == [app_id for app_id, topics in publishers.items() if name in topics]


def test_only_its_consumers_may_read_a_topic() -> None:
    """The live page and the tap read all of them."""
    readers = scoped(READERS)
    observers = {MONITOR, "tap"}

    for name, topic in read_topics().items():
        assert {*topic.consumers, *observers} == {app_id for app_id, topics in readers.items() if name in topics}


@pytest.mark.parametrize("pod_name", [pod_name_of(each) for each in replicas_of(GATEWAY, GATEWAYS_MAX)])
@pytest.mark.parametrize("addressed", [False, True])
def test_every_subscription_of_a_replica_is_allowed(pod_name: str, addressed: bool) -> None:
    """Including the probe events, which an app publishes and reads."""
    readers, publishers = scoped(READERS), scoped(PUBLISHERS)
    mine = subscriptions(pod_name, addressed=addressed)

    assert all(each.topic in readers[each.app_id] for each in mine)
    assert all(each.topic in publishers[each.app_id] for each in mine if each.topic.startswith("Probe-"))
    assert [each.app_id for each in mine if each.topic.startswith("Probe-")] == [
        publisher_of(each.topic) for each in mine if each.topic.startswith("Probe-")
    ]


def test_a_reply_topic_has_one_publisher_and_one_reader() -> None:
    """No other sidecar may forge a reply, or read it."""
    readers, publishers = scoped(READERS), scoped(PUBLISHERS)

    for topic, publisher in every_reply_topic().items():
        assert [publisher] == [app_id for app_id, topics in publishers.items() if topic in topics]
        assert [GATEWAY] == [app_id for app_id, topics in readers.items() if topic in topics]
        assert publisher == publisher_of(topic)


def test_every_topic_is_known() -> None:
    """A topic that is missing here could be published and read by no app."""
    topics = topic_scopes()[TOPICS].split(",")

    assert len(topics) == len(set(topics))
    assert set(topics) == {topic for name in (PUBLISHERS, READERS) for each in scoped(name).values() for topic in each}
    assert publisher_of("Unknown") is None


def test_an_app_without_topics_has_an_empty_scope() -> None:
    """daprd refuses it everything, because the topics are protected."""
    made = variables({"one": ["A"], "two": []}, {"one": [], "two": ["A"]})

    assert {TOPICS: "A", PUBLISHERS: "one=A;two=", READERS: "one=;two=A"} == made
