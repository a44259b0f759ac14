"""The applied overlay: a second apply changes nothing."""

from __future__ import annotations

from tests.kubernetes.shop import KubernetesShop

KINDS = "deploy,sts,svc,sa,secret,cm,pdb,netpol,components,configurations.dapr.io,resiliencies"


def test_a_second_apply_changes_nothing(shop: KubernetesShop) -> None:
    """No object gets another specification, so no pod restarts.

    kubectl reports some objects as configured, because it sends their selectors each time.
    """
    before = generations(shop)

    shop.apply()

    assert len(before) > 50
    assert before == generations(shop)


def generations(shop: KubernetesShop) -> dict[str, str]:
    """Return the generation of each object; those without one have their version instead."""
    heads = {
        f"{each['kind']} {each['metadata']['name']}": each["metadata"] for each in shop.kubectl.get(KINDS)["items"]
    }
    return {name: str(head.get("generation", head["resourceVersion"])) for name, head in heads.items()}
