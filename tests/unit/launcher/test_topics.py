"""The topic list: the publisher and the consumers of each event."""

from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.launcher.topics import GATEWAY, REPLIES, app_ids, probe_topic, read_topics, subscriptions


def test_every_publisher_and_consumer_is_an_app() -> None:
    """A topic names only apps of the shop."""
    named = {app for topic in read_topics().values() for app in (topic.publisher, *topic.consumers)}

    assert set(app_ids()) == named


def test_the_gateway_reads_replies_under_its_own_name() -> None:
    """Each gateway replica has its own consumer, on the component that is scoped to gateways."""
    gateway = [one for one in subscriptions("gateway-7") if one.app_id == GATEWAY]

    assert {("gateway-7", REPLIES)} == {(one.consumer_id, one.component) for one in gateway}
    assert "Probe-gateway-7" in {one.topic for one in gateway}


def test_mail_travels_on_its_own_component() -> None:
    """Only EmailRequested is on the mail bus, so that slow mail delays no other event."""
    assert ["EmailRequested"] == [one.topic for one in subscriptions("gateway-0") if one.component == "mailbus"]


def test_every_app_probes_itself() -> None:
    """The readiness of each app depends on its own probe event."""
    topics = {(one.app_id, one.topic) for one in subscriptions("gateway-0")}

    assert {(app, probe_topic(app, "gateway-0")) for app in app_ids()} <= topics


def test_an_excluded_app_is_not_expected() -> None:
    """Without billing, the launcher expects none of billing's subscriptions at the broker."""
    assert "billing" not in {one.app_id for one in subscriptions("gateway-0", frozenset({"billing"}))}


def test_no_app_subscribes_on_the_publishing_component() -> None:
    """A sidecar that publishes and subscribes on one connection may lose a consumer (ADR 12)."""
    assert PUBSUB not in {one.component for one in subscriptions("gateway-0")}
