"""Changes of the shop and of the control plane under load: no request fails, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from sidecart.kubernetes import names
from sidecart.launcher.topics import GATEWAY, app_ids, service_ids
from tests.kubernetes import overlay, rollout
from tests.kubernetes.cluster.images import NEXT_IMAGE
from tests.kubernetes.cluster.kubectl import Kubectl
from tests.kubernetes.containers import APP, SIDECAR
from tests.kubernetes.results import keep
from tests.kubernetes.shop import KubernetesShop

ROLLOUT_SECONDS = 300
OUTAGE_SECONDS = 60
KEEPER_SECONDS = overlay.GONE_SECONDS + 120
"""The keeper looks every half minute, first sees that a gateway has gone when events wait, and
removes one subscription after the other."""
CONTROL_PLANE = ("dapr-operator", "dapr-sidecar-injector", "dapr-sentry")

pytestmark = pytest.mark.full


class Change(Protocol):
    """A function that makes a change under load, and fails if a request failed."""

    def __call__(self, name: str, function: Callable[[], None], replaced: Sequence[str] = ()) -> None:
        """`replaced`: as in rollout.run."""


@pytest.fixture(scope="module")
def two_gateways(shop: KubernetesShop) -> Iterator[KubernetesShop]:
    """Return the shop with two gateways, as the base has them; the trial overlays have one."""
    scale(shop, GATEWAY, 2)
    shop.wait_all_ready()
    yield shop
    scale(shop, GATEWAY, 1)
    shop.wait_all_ready()


@pytest.fixture(scope="module")
def found() -> Iterator[list[rollout.Rollout]]:
    """Return the list of the results, and print them at the end."""
    results: list[rollout.Rollout] = []
    yield results
    print(f"\n{rollout.table(results)}\n")
    keep(results, f"rollouts-{overlay.chosen()}")


@pytest.fixture
def change(two_gateways: KubernetesShop, found: list[rollout.Rollout], tmp_path: Path) -> Change:
    """Return a function that makes a change under load, and fails if a request failed."""

    def apply(name: str, function: Callable[[], None], replaced: Sequence[str] = ()) -> None:
        result = rollout.run(two_gateways, name, tmp_path, function, replaced)
        found.append(result)
        print(f"\n{rollout.table([result])}\n{result.failed}\n{result.audit.findings}")
        assert {} == result.failed
        assert result.reads > 0
        assert [] == result.audit.findings
        assert result.audit.counts["paid"] > 0

    return apply


def scale(shop: KubernetesShop, name: str, number: int) -> None:
    """Scale a workload, and wait until it has this number of pods."""
    shop.kubectl("scale", shop.workload(name), f"--replicas={number}")
    finish(shop, name)
    shop.until(lambda: len(shop.pods(name)) == number, f"{number} pods of {name}")


def finish(shop: KubernetesShop, name: str) -> None:
    """Wait until a workload has rolled out."""
    shop.kubectl("rollout", "status", shop.workload(name), f"--timeout={ROLLOUT_SECONDS}s")


def gateways(number: int) -> set[str]:
    """Return the names of the pods of a number of gateways: each is that of a consumer."""
    return {f"{GATEWAY}-{each}" for each in range(number)}


def consumers(shop: KubernetesShop) -> set[str]:
    """Return the gateways that have a consumer group or a queue at the broker."""
    return {each.consumer for each in shop.backlog()} & gateways(10)


def wait_removed(shop: KubernetesShop) -> None:
    """Wait until the broker has nothing of the gateways that were scaled in.

    On Redis the keeper finds a group by the events that wait for it, so there must be a load.
    """
    shop.deadline.until(
        lambda: consumers(shop) == gateways(1), KEEPER_SECONDS, lambda: f"{KEEPER_SECONDS} s: {consumers(shop)}", 1.0
    )


def test_a_rolling_restart_fails_no_request(two_gateways: KubernetesShop, change: Change) -> None:
    """Every app is replaced, one after the other."""

    def restart() -> None:
        for name in (*service_ids(), GATEWAY):
            two_gateways.kubectl("rollout", "restart", two_gateways.workload(name))
            finish(two_gateways, name)

    change("rolling restart of every app", restart, app_ids())


def test_a_rolling_upgrade_fails_no_request(two_gateways: KubernetesShop, change: Change) -> None:
    """All apps get another image at once, and then the former one again."""
    shop = two_gateways

    def upgrade() -> None:
        for image in (NEXT_IMAGE, names.app_image()):
            for name in app_ids():
                shop.kubectl("set", "image", shop.workload(name), f"{APP}={image}")
            for name in app_ids():
                finish(shop, name)
            used = {each["image"] for name in app_ids() for each in app_containers(shop, name)}
            assert {image} == used

    change("rolling upgrade of all apps at once, and back", upgrade, [*app_ids(), *app_ids()])


def running(shop: KubernetesShop, name: str) -> list[dict[str, Any]]:
    """Return the pods of an app that were not deleted."""
    return [each for each in shop.pods(name) if "deletionTimestamp" not in each["metadata"]]


def app_containers(shop: KubernetesShop, name: str) -> list[dict[str, str]]:
    """Return the containers of an app in the pods that were not deleted."""
    return [each for pod in running(shop, name) for each in pod["spec"]["containers"] if each["name"] == APP]


def test_scaling_services_fails_no_request(two_gateways: KubernetesShop, change: Change) -> None:
    """From 2 to 3 to 1."""
    scale(two_gateways, "order", 2)

    def scale_out_and_in() -> None:
        scale(two_gateways, "order", 3)
        scale(two_gateways, "order", 1)

    change("Order Service from 2 to 3 to 1", scale_out_and_in)


def test_traffic_continues_without_the_control_plane(
    cluster: Kubectl, two_gateways: KubernetesShop, change: Change
) -> None:
    """Operator, injector and sentry are down for a minute; a new pod has its sidecar afterwards."""
    plane = cluster.within(names.CONTROL_PLANE_NAMESPACE)

    def stop_a_minute() -> None:
        plane("scale", "deployment", *CONTROL_PLANE, "--replicas=0")
        try:
            for each in CONTROL_PLANE:
                plane("wait", "--for=delete", "pod", "-l", f"app={each}", "--timeout=60s")
            two_gateways.deadline.pause(OUTAGE_SECONDS)
        finally:
            plane("scale", "deployment", *CONTROL_PLANE, "--replicas=1")
        for each in CONTROL_PLANE:
            plane("rollout", "status", f"deployment/{each}", f"--timeout={ROLLOUT_SECONDS}s")

    change(f"operator, injector and sentry down for {OUTAGE_SECONDS} s", stop_a_minute)

    two_gateways.kubectl("rollout", "restart", two_gateways.workload("order"))
    finish(two_gateways, "order")
    pods = running(two_gateways, "order")
    assert [SIDECAR] == [each["name"] for pod in pods for each in pod["spec"]["initContainers"]]


def test_scaling_gateways_fails_no_request_and_leaves_nothing(two_gateways: KubernetesShop, change: Change) -> None:
    """From 1 to 3 to 1; then the keeper removes their groups and queues."""
    shop = two_gateways
    scale(shop, GATEWAY, 1)

    def scale_out_and_in() -> None:
        scale(shop, GATEWAY, 3)
        assert gateways(3) <= consumers(shop)
        scale(shop, GATEWAY, 1)
        wait_removed(shop)

    change("gateways from 1 to 3 to 1, until the keeper has removed what they left", scale_out_and_in)
