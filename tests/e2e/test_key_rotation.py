"""Tests of a repeated Idempotency-Key across restarts, at two gateways, and across a rotation of
the secret from which the ids derive.

A test moves the time of the rotation into the past instead of waiting for weeks.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from sidecart.chassis.events import now, timestamp
from sidecart.edge.command import key_owner, resource_id
from sidecart.edge.key_secrets import KEY, OVERLAP
from sidecart.launcher import proxy
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import replicas_of
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper, new_address

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

GATEWAYS = replicas_of(GATEWAY, 2)
ROUTE = "/order/create"
DAYS_8, DAYS_16 = timedelta(days=8), timedelta(days=16)
MONEY = 100 * TEA_CENTS

assert OVERLAP < DAYS_8 < 2 * OVERLAP < DAYS_16


class Customer:
    """A caller who sends orders with keys to each gateway."""

    def __init__(self, shopper: Shopper) -> None:
        self.shopper = shopper
        self.user_id = shopper.register(email=new_address())["user_id"]
        shopper.deposit(self.user_id, MONEY)

    def order(self, gateway: str, key: str) -> str:
        """Order with a key at a gateway; return the id of the order."""
        url = f"http://127.0.0.1:{self.shopper.shop.ports[gateway]}{ROUTE}"
        body, headers = {"user_id": self.user_id, "items": [TEA]}, {"idempotency-key": key, "prefer": "wait=30"}
        answer = httpx.post(url, json=body, headers=headers, timeout=SECONDS, trust_env=False, auth=self.shopper.acting)
        assert 201 == answer.status_code, answer.text
        return str(answer.json()["order_id"])

    def everywhere(self, key: str) -> str:
        """Order twice at each gateway with one key; return the id of the one order."""
        [order_id] = {self.order(name, key) for name in (*GATEWAYS, *GATEWAYS)}
        return order_id

    def must_have_paid(self, *order_ids: str) -> None:
        """Check that money was taken for these orders and for no other."""
        assert {"OrderPaid"} == {self.shopper.final(order_id) for order_id in order_ids}
        assert MONEY - len(order_ids) * TEA_CENTS == self.shopper.balance(self.user_id)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the shop, which a second start uses again."""
    return tmp_path_factory.mktemp("rotation")


@pytest.fixture(scope="module")
def own_shop(folder: Path) -> Iterator[System]:
    """Start a shop with two gateways."""
    with System(replace(options(folder), gateways=len(GATEWAYS)), print) as running:
        yield running


@pytest.fixture(scope="module")
def own_tap(own_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(own_shop) as running:
        yield running


@pytest.fixture
def shopper(own_shop: System, own_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop."""
    with Shopper(own_shop, own_tap) as client:
        yield client


@pytest.fixture
def customer(shopper: Shopper) -> Customer:
    """Return a caller with money."""
    return Customer(shopper)


def restart(shop: System, *names: str) -> None:
    """Restart gateways one after the other; each reads the secrets then."""
    for name in names or GATEWAYS:
        shop.stop_app(name)
        shop.start_app(name)
        shop.wait_ready(name)


def rotate(shop: System, gateway: str, token: str | None = None) -> httpx.Response:
    """Call the gateway as `sidecart rotate-key-secret` does, by default with its app's token."""
    headers = {"dapr-api-token": shop.tokens[gateway] if token is None else token}
    return httpx.post(
        f"http://127.0.0.1:{shop.ports[gateway]}/key-secret", headers=headers, timeout=SECONDS, trust_env=False
    )


def stored(shopper: Shopper) -> dict[str, str]:
    """Return the stored record of the secrets."""
    return dict(shopper.state(GATEWAY, KEY).json())


def move_rotation(shopper: Shopper, age: timedelta) -> None:
    """Let the last rotation be this long ago, and let every gateway read that."""
    write(shopper, now() - age)
    restart(shopper.shop)


def write(shopper: Shopper, rotated_at: datetime) -> None:
    """Change the stored time of the last rotation."""
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    value, etag = state.load(GATEWAY, KEY)
    assert etag is not None
    assert state.save(GATEWAY, KEY, value | {"rotated_at": timestamp(rotated_at)}, etag)


def expected(shopper: Shopper, generation: str, customer: Customer, key: str) -> str:
    """Return the id of an order that derives from one of the stored secrets."""
    owner = key_owner(customer.user_id, customer.user_id)
    return resource_id(bytes.fromhex(stored(shopper)[generation]), ROUTE, owner, key)


def made_at(moment: datetime) -> str:
    """Return a key as the gateway generates it at a time (UUID of version 7)."""
    value = int(moment.timestamp() * 1000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return f"sidecart-{uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)}"


def test_a_key_survives_the_restart_of_its_gateway(shopper: Shopper, customer: Customer) -> None:
    """The same order before and after, at this gateway and at the other one."""
    key = uuid.uuid4().hex
    first = customer.order(GATEWAYS[0], key)
    restart(shopper.shop, GATEWAYS[0])
    again = customer.order(GATEWAYS[0], key)
    restart(shopper.shop, GATEWAYS[1])

    assert first == again == customer.everywhere(key)
    customer.must_have_paid(first)


def test_a_key_survives_the_crash_of_both_gateways(shopper: Shopper, customer: Customer) -> None:
    """The secret is in the store, not in a process."""
    key, shop = uuid.uuid4().hex, shopper.shop
    first = customer.order(GATEWAYS[1], key)
    for name in GATEWAYS:
        shop.kill(name)
    for name in GATEWAYS:
        shop.start_app(name)
    for name in (*GATEWAYS, proxy.NAME):  # the next test calls the proxy
        shop.wait_ready(name)

    assert first == customer.everywhere(key)
    customer.must_have_paid(first)


@pytest.mark.attack("other users", "rotate the secret of the key ids", "token of an app")
def test_a_rotation_needs_the_token_of_the_app(shopper: Shopper) -> None:
    """Neither a caller's token, nor that of another app, nor none: 403, and the secret stays."""
    shop, before = shopper.shop, stored(shopper)
    tokens = ("", "guess", shop.tokens["order"], shop.tokens["gateway-sidecar"])
    statuses = [rotate(shop, GATEWAYS[0], token).status_code for token in tokens]
    operator = shopper.caller("op@example.com", roles=("operator",), scopes=("deposits",))
    statuses.append(shopper.http.post("/key-secret", headers=operator).status_code)

    assert {403} == set(statuses)
    assert before == stored(shopper)


def test_the_same_key_gives_the_same_order_across_a_rotation(shopper: Shopper, customer: Customer) -> None:
    """Before the rotation, in both of its phases and after it, at both gateways; new keys get the
    new secret.
    """
    shop = shopper.shop
    before, during, later, new = (uuid.uuid4().hex for _ in range(4))
    orders = {before: customer.everywhere(before)}
    old = stored(shopper)["current"]

    done, again = rotate(shop, GATEWAYS[0]), rotate(shop, GATEWAYS[1])

    assert (200, 409) == (done.status_code, again.status_code)
    assert "urn:sidecart:problem:rotation_under_way" == again.json()["type"]
    assert (old, True) == (stored(shopper)["previous"], stored(shopper)["current"] != old)
    # The other gateway reads the new secrets within half a minute. Both agree before and after.
    orders[during] = customer.everywhere(during)
    assert orders == {key: customer.everywhere(key) for key in orders}
    restart(shop, GATEWAYS[1])
    assert orders == {key: customer.everywhere(key) for key in orders}
    assert orders[during] == expected(shopper, "previous", customer, during)

    move_rotation(shopper, DAYS_8)
    assert orders == {key: customer.everywhere(key) for key in orders}
    orders[later] = customer.everywhere(later)
    assert orders[later] == expected(shopper, "current", customer, later)
    restart(shop, GATEWAYS[0])
    assert orders == {key: customer.everywhere(key) for key in orders}
    assert 409 == rotate(shop, GATEWAYS[0]).status_code

    move_rotation(shopper, DAYS_16)
    orders[new] = customer.everywhere(new)
    assert orders[later] == customer.everywhere(later)
    assert orders[new] == expected(shopper, "current", customer, new)
    customer.must_have_paid(*orders.values())


@pytest.mark.attack("other users", "use the secret from before a rotation", "secret of the key ids")
def test_after_a_rotation_the_old_secret_is_not_used(shopper: Shopper, customer: Customer) -> None:
    """Sixteen days after a rotation, a key from before it names a new request, and the next
    rotation may begin.
    """
    key = uuid.uuid4().hex
    first = customer.everywhere(key)
    assert 200 == rotate(shopper.shop, GATEWAYS[1]).status_code
    move_rotation(shopper, DAYS_16)
    second = customer.everywhere(key)

    assert first == expected(shopper, "previous", customer, key)
    assert second == expected(shopper, "current", customer, key)
    customer.must_have_paid(first, second)


def test_a_generated_key_keeps_its_order_in_a_rotation(shopper: Shopper, customer: Customer) -> None:
    """A key that a gateway generated has its own time, which decides about the secret."""
    assert 200 == rotate(shopper.shop, GATEWAYS[0]).status_code
    move_rotation(shopper, DAYS_8)
    changed_at = now() - DAYS_8 + OVERLAP
    keys = {
        made_at(changed_at - timedelta(hours=1)): "previous",
        made_at(changed_at + timedelta(hours=1)): "current",
        made_at(now()): "current",
    }
    orders = {key: customer.everywhere(key) for key in keys}

    assert orders == {key: expected(shopper, generation, customer, key) for key, generation in keys.items()}
    restart(shopper.shop)
    assert orders == {key: customer.everywhere(key) for key in keys}
    customer.must_have_paid(*orders.values())
    move_rotation(shopper, DAYS_16)


def test_gateways_agree_around_the_change_of_the_secret(shopper: Shopper, customer: Customer) -> None:
    """Around the change from the old secret to the new one, gateways may differ about the time: the
    first claim of a key wins.
    """
    assert 200 == rotate(shopper.shop, GATEWAYS[0]).status_code
    # The gateways read the secrets with a change that is a few seconds ahead, and cross it
    # meanwhile.
    seconds = 20
    write(shopper, now() - OVERLAP + timedelta(seconds=seconds))
    restart(shopper.shop, GATEWAYS[0])
    restart(shopper.shop, GATEWAYS[1])
    orders: dict[str, str] = {}
    end = time.monotonic() + 1.5 * seconds
    while time.monotonic() < end:
        key = uuid.uuid4().hex
        orders[key] = customer.everywhere(key)

    assert orders == {key: customer.everywhere(key) for key in orders}
    generations = {
        "previous" if made == expected(shopper, "previous", customer, key) else "current"
        for key, made in orders.items()
    }
    assert {"previous", "current"} == generations
    move_rotation(shopper, DAYS_16)


def test_a_key_survives_a_stop_of_the_whole_shop(own_shop: System, folder: Path, shopper: Shopper) -> None:
    """The secret is kept with the data: a later start gives the same order. This test stops the
    shop, so it is the last.
    """
    customer, key = Customer(shopper), uuid.uuid4().hex
    first = customer.everywhere(key)
    own_shop.stop()
    with (
        System(replace(options(folder), gateways=len(GATEWAYS)), print) as again,
        Tap(again) as tap,
        Shopper(again, tap) as later,
    ):
        later.acting = shopper.acting  # it knows the customer
        customer.shopper = later
        second, balance = customer.everywhere(key), later.balance(customer.user_id)

    assert first == second
    assert MONEY - TEA_CENTS == balance
