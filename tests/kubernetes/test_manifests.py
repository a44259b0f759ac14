"""The applied overlay: a second apply changes nothing, and nothing waits or restarts."""

from __future__ import annotations

from tests.kubernetes.shop import KubernetesShop


def test_a_second_apply_changes_nothing(shop: KubernetesShop) -> None:
    """kubectl calls each object unchanged."""
    lines = shop.apply().splitlines()

    assert len(lines) > 50
    assert [] == [line for line in lines if not line.endswith(" unchanged")]
