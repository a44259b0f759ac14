"""The consumers whose waiting events the status counts."""

from __future__ import annotations

from sidecart.kubernetes.status import consumers
from sidecart.launcher.topics import service_ids


def test_each_pod_of_the_gateway_is_a_consumer_of_its_own() -> None:
    """The replicas of a service share one."""
    found = consumers(2)

    assert [*service_ids(), "gateway-0", "gateway-1"] == [*found]
    assert {"gateway-1"} == {each.consumer_id for each in found["gateway-1"]}
    assert {"order"} == {each.consumer_id for each in found["order"]}
