"""One shop and one tap for the whole suite, on the broker in BROKER; the brokers differ in their
YAML folder only.

STORE selects the store in the same way, and SIDECAR_API the API of the sidecars.
WITH=user=examples/user-node replaces our User Service with that program. SHOP=baseline runs the
suite on the shop without sidecars (bench/baseline), and SHOP=kubernetes on the overlay of BROKER
and STORE, on the cluster that KUBECONFIG names (tests/kubernetes).
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from bench.baseline.shop import BaselineShop
from sidecart.chassis.settings import sidecar_api
from sidecart.launcher import daprd, sentry
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.lifecycle.settings import external_servers
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.testkit.tap import Sightings, Tap
from tests.e2e.attack import Eve, Victim, victim_of
from tests.e2e.baseline import BaselineShopper, BaselineTap
from tests.e2e.shopper import SECONDS, Shopper, new_address
from tests.faults.trials import api_of
from tests.kubernetes import overlay
from tests.kubernetes.cluster.kubectl import from_environment
from tests.kubernetes.shop import KubernetesShop
from tests.kubernetes.tap import KubernetesShopper, KubernetesTap

Shop = System | BaselineShop | KubernetesShop


def broker() -> str:
    """Return the broker of this run."""
    name = os.environ.get("BROKER", "redis")
    assert name in BROKERS, f"BROKER={name}: choose one of {', '.join(BROKERS)}"
    return name


def store() -> str:
    """Return the store of this run."""
    name = os.environ.get("STORE", "redis")
    assert name in STORES, f"STORE={name}: choose one of {', '.join(STORES)}"
    return name


def replaced() -> dict[str, Path]:
    """Return the replaced programs of this run, by app-id."""
    pairs = (pair.partition("=") for pair in os.environ.get("WITH", "").split())
    return {app_id: root() / folder for app_id, _, folder in pairs}


def options(folder: Path) -> Options:
    """Return the options of a shop in its own folder, with the environment's external servers."""
    return Options(
        broker(),
        store(),
        folder=folder,
        replaced=replaced(),
        external=external_servers(),
        settings=api_of(os.environ),
    )


def is_baseline() -> bool:
    """Return whether this run is on the baseline."""
    return os.environ.get("SHOP") == "baseline"


def is_on_kubernetes() -> bool:
    """Return whether this run is on a cluster."""
    return os.environ.get("SHOP") == "kubernetes"


def pytest_report_header() -> str:
    """Return the header line: broker, store, and replaced programs."""
    if is_on_kubernetes():
        return f"the overlay {overlay.chosen()} on Kubernetes"
    others = "".join(f", {app_id} from {folder.relative_to(root())}" for app_id, folder in replaced().items())
    if is_baseline():
        return f"broker: {broker()}, the baseline"
    api = sidecar_api(os.environ)
    return f"broker: {broker()} (components/brokers/{broker()}), store: {store()}, sidecars by {api}{others}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that do not apply to the servers of this run.

    They are not skipped: a skipped test fails a suite.
    """
    other = [item for item in items if _is_for_others(item)]
    if is_on_kubernetes():
        other += [item for item in items if item.get_closest_marker("not_on_kubernetes") and item not in other]
    if other:
        config.hook.pytest_deselected(items=other)
        items[:] = [item for item in items if item not in other]


def _is_for_others(item: pytest.Item) -> bool:
    chosen = {"only_on": {broker(), store()}, "only_on_broker": {broker()}}
    return any(
        (only := item.get_closest_marker(marker)) and servers.isdisjoint(only.args)
        for marker, servers in chosen.items()
    )


@pytest.fixture(scope="session", autouse=True)
def _daprd_is_there() -> None:
    """Fetch or build daprd before the first test: on a new machine it takes minutes, and no time
    limit of a test allows for that.
    """
    if not is_baseline() and not is_on_kubernetes():
        daprd.find(print, Deadline())
        sentry.find(print, Deadline())


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Return the running shop; a test that stops a part of it starts that part again."""
    folder = tmp_path_factory.mktemp("shop")
    with _shop(folder) as running:
        yield running


def _shop(folder: Path) -> Shop:
    if is_baseline():
        return BaselineShop(broker(), folder, print)
    if is_on_kubernetes():
        return KubernetesShop(from_environment(), overlay.chosen(), folder, print)
    return System(options(folder), print)


@pytest.fixture(scope="session")
def tap(shop: Shop) -> Iterator[Sightings]:
    """Return the tap, which records every event that passes the broker."""
    match shop:
        case BaselineShop():
            found: AbstractContextManager[Sightings] = BaselineTap(shop)
        case KubernetesShop():
            found = KubernetesTap(shop)
        case _:
            found = Tap(shop)
    with found as running:
        yield running


@pytest.fixture
def shopper(shop: Shop, tap: Sightings) -> Iterator[Shopper]:
    """Return a client of the gateway that also sees the tap and the mails."""
    match shop, tap:
        case BaselineShop(), BaselineTap():
            client: Shopper = BaselineShopper(shop, tap)
        case KubernetesShop(), KubernetesTap():
            client = KubernetesShopper(shop, tap)
        case System(), Tap():
            client = Shopper(shop, tap)
        case _:
            raise AssertionError("a tap of another shop")
    with client:
        yield client


@pytest.fixture
def anonymous(shopper: Shopper) -> Iterator[httpx.Client]:
    """Return a client that adds no token."""
    with httpx.Client(base_url=shopper.shop.url, timeout=SECONDS, trust_env=False) as http:
        yield http


@pytest.fixture
def victim(shopper: Shopper) -> Iterator[Victim]:
    """Return a caller with money, an order and a deposit."""
    with victim_of(shopper) as found:
        yield found


@pytest.fixture
def eve(shopper: Shopper) -> Eve:
    """Return a registered caller who attacks."""
    email = new_address()
    return Eve(shopper.register("Eve", email)["user_id"], email, shopper.caller(email))
