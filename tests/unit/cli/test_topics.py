"""The topic list: who publishes and who consumes what."""

from chassis.sidecar import PUBSUB
from cli.topics import APPS, GATEWAY, MAILBUS, REPLIES, TOPICS, probe_topic, subscriptions


def test_every_publisher_and_consumer_is_an_app() -> None:
    """A topic names only apps of the shop."""
    named = {app for topic in TOPICS.values() for app in (topic.publisher, *topic.consumers)}

    assert set(APPS) == named


def test_the_gateway_reads_replies_under_its_own_name() -> None:
    """Each gateway replica has a consumer of its own, on the component that is scoped to it."""
    gateway = [one for one in subscriptions("gateway-7") if one.app_id == GATEWAY]

    assert {("gateway-7", REPLIES)} == {(one.consumer_id, one.component) for one in gateway}
    assert "Probe-gateway-7" in {one.topic for one in gateway}


def test_mail_travels_on_its_own_component() -> None:
    """Only EmailRequested is on the mail bus, so that slow mail holds up nothing else."""
    assert ["EmailRequested"] == [one.topic for one in subscriptions("gateway-0") if one.component == MAILBUS]


def test_every_app_probes_itself() -> None:
    """Readiness of each app depends on an event of its own."""
    topics = {(one.app_id, one.topic) for one in subscriptions("gateway-0")}

    assert {(app, probe_topic(app, "gateway-0")) for app in APPS} <= topics


def test_an_app_that_is_left_out_is_not_waited_for() -> None:
    """Without billing nothing of billing's is expected at the broker."""
    assert "billing" not in {one.app_id for one in subscriptions("gateway-0", frozenset({"billing"}))}


def test_nobody_reads_where_everybody_publishes() -> None:
    """A sidecar that publishes and subscribes on one connection may lose a consumer (ADR 12)."""
    assert PUBSUB not in {one.component for one in subscriptions("gateway-0")}
