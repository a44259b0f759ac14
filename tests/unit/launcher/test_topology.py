"""The replicas of a shop and their subscriptions."""

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import readers, replica_names, surplus_subscriptions


def test_one_replica_of_each_app_by_default() -> None:
    """The default is each app of dapr.yaml; excluded apps are missing."""
    assert list(app_ids()) == replica_names(1, {})
    more = {"gateway": ["gateway", "gateway-1"], "order": ["order", "order-1"], "billing": []}
    assert [name for app_id in app_ids() for name in more.get(app_id, [app_id])] == replica_names(
        2, {"order": 2}, frozenset({"billing"})
    )


@pytest.mark.parametrize(
    ("gateways", "replicas", "output"),
    [
        (0, {}, "0 replicas of gateway"),
        (21, {}, "21 replicas of gateway: choose 1 to 20"),
        (1, {"order": 0}, "0 replicas of order"),
        (1, {"gateway": 2}, "there is no service gateway: choose from user"),
        (1, {"orders": 2}, "there is no service orders"),
    ],
)
def test_an_impossible_topology_is_refused(gateways: int, replicas: dict[str, int], output: str) -> None:
    """The error is one line, before anything starts."""
    with pytest.raises(LaunchError, match=output):
        replica_names(gateways, replicas)


def test_service_replicas_share_a_queue_and_gateways_do_not() -> None:
    """Service replicas share a queue with two consumers; each gateway has its own queue."""
    found = {(one.consumer_id, one.topic): number for one, number in readers(replica_names(2, {"order": 2})).items()}

    assert 2 == found["order", "OrderCreateRequested"]
    assert 1 == found["billing", "OrderPaymentRequested"]
    assert (1, 1) == (found["gateway-0", "Replies-gateway-0-order"], found["gateway-1", "Replies-gateway-1-order"])
    assert ("gateway-0", "OrderCreated") not in found
    assert (1, 1) == (found["gateway-0", "Probe-gateway-0"], found["gateway-1", "Probe-gateway-1"])


def test_one_gateway_reads_the_shared_topics() -> None:
    """Nothing is addressed to it, unless the caller says so: on Kubernetes more may come."""
    topics = {one.topic for one in readers(["gateway"])}

    assert {"OrderCreated", "Probe-gateway-0"} <= topics
    assert not any(topic.startswith("Replies-") for topic in topics)
    assert "Replies-gateway-0-order" in {one.topic for one in readers(["gateway"], addressed=True)}


@pytest.mark.parametrize("gateways", [1, 3])
def test_the_broker_keeps_nothing_that_this_run_does_not_read(gateways: int) -> None:
    """An earlier run may have had more gateways, or the other kind of replies."""
    surplus, read = set(surplus_subscriptions(gateways)), set(readers(replica_names(gateways, {})))

    assert not surplus & read
    assert {f"gateway-{number}" for number in range(20)} == {one.consumer_id for one in surplus}
    shared = ("gateway-0", "OrderCreated") in {(one.consumer_id, one.topic) for one in surplus}
    assert shared == (gateways > 1)
