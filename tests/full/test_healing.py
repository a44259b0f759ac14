"""Each event is lost once after a successful publish, on each broker; every accepted request still
completes.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sidecart.launcher.gateways import Gateways
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.topics import GATEWAY, service_ids
from sidecart.testkit.tap import Tap
from tests.e2e.shopper import Shopper, new_address
from tests.full.forgetful import program
from tests.suites import STORE_OF_BROKER

PAID = ("OrderCreated", "OrderPaymentRequested", "OrderPaymentCreated", "OrderPaid", "EmailRequested")
NOT_PAID = ("OrderPaymentFailed", "OrderNotPaid", "EmailRequested")


class Forgetful:
    """A shop whose services lose events on request."""

    def __init__(self, shop: System, shopper: Shopper, folder: Path) -> None:
        self.shop = shop
        self.shopper = shopper
        self._folder = folder
        self.gateways = Gateways({GATEWAY: shop.ports[GATEWAY]}, shop.tokens)

    def lose(self, topic: str) -> Path:
        """Lose the next event of this topic; the returned path exists until the event is lost."""
        order = self._folder / topic
        order.touch()
        return order

    def order(self, user_id: str, lost: str) -> str:
        """Place an order, lose one of its events, and return the order's id after the loss."""
        order = self.lose(lost)
        answer = self.shopper.order(user_id)
        assert answer.status_code in (201, 202), answer.text
        self.shopper.until(lambda: not order.exists(), f"{lost} to be published")
        return answer.headers["location"].rpartition("/")[2]

    def is_mailed(self, user_id: str, order_id: str, kind: str) -> bool:
        """Return whether the customer was mailed the order's outcome."""
        answer = self.shopper.http.get(f"/notification/{user_id}")
        found = answer.json()["notifications"] if answer.status_code == 200 else []
        return any(one["order_id"] == order_id and one["kind"] == kind and one["sent_at"] for one in found)

    def metric(self, name: str) -> float:
        """Return the sum of a gateway metric over its labels."""
        port = self.shop.ports[f"{GATEWAY}-metrics"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


@pytest.fixture(scope="module", params=list(BROKERS))
def forgetful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forgetful]:
    """Start a forgetful shop on one broker."""
    folder = tmp_path_factory.mktemp("forgetful")
    lost = folder / "lose"
    lost.mkdir()
    programs = {app_id: program(folder / app_id, app_id, lost) for app_id in service_ids()}
    broker = request.param
    options = Options(broker, STORE_OF_BROKER[broker], folder=folder / "shop", replaced=programs)
    with System(options, print) as shop, Tap(shop) as tap, Shopper(shop, tap) as shopper:
        yield Forgetful(shop, shopper, lost)


def test_an_order_is_completed_and_mailed_whichever_event_is_lost(forgetful: Forgetful) -> None:
    """Each order is paid once and mailed at least once; the gateway counts its repairs and has no
    unfinished flow.
    """
    shopper = forgetful.shopper
    rich, poor = shopper.register()["user_id"], shopper.register()["user_id"]
    shopper.deposit(rich, 100_000)

    paid = [forgetful.order(rich, topic) for topic in PAID]
    not_paid = [forgetful.order(poor, topic) for topic in NOT_PAID]

    for order_id in paid:
        shopper.until(partial(forgetful.is_mailed, rich, order_id, "paid"), f"the mail of {order_id}")
    for order_id in not_paid:
        shopper.until(partial(forgetful.is_mailed, poor, order_id, "not_paid"), f"the mail of {order_id}")
    assert {"paid"} == {shopper.get(f"/order/{order_id}")["status"] for order_id in paid}
    assert {"not_paid"} == {shopper.get(f"/order/{order_id}")["status"] for order_id in not_paid}
    assert 100_000 - 900 * len(paid) == shopper.balance(rich)
    shopper.until(lambda: not forgetful.gateways.unfinished(), "nothing left to reconcile")
    # OrderCreated answers the caller, so the gateway repeats that command at half of the wait
    healed = len(PAID) + len(NOT_PAID) - 1
    assert healed <= forgetful.metric("sidecart_healed_flows_total")
    assert 0 == forgetful.metric("sidecart_stuck_flows")


def test_account_and_contact_exist_although_the_registration_event_was_lost(forgetful: Forgetful) -> None:
    """The gateway repeats the command because UserCreated answers its caller; account and contact
    follow.
    """
    shopper = forgetful.shopper
    lost = forgetful.lose("UserCreated")
    address = new_address()
    user_id = shopper.register(email=address)["user_id"]
    assert not lost.exists()

    shopper.until(lambda: shopper.http.get(f"/account/{user_id}").status_code == 200, "the account")
    shopper.order(user_id)
    assert 1 <= len(shopper.wait_for_mails(address, 1))


def test_reconcile_heals_a_lost_event_immediately(forgetful: Forgetful) -> None:
    """`reconcile` checks and repeats unfinished flows now, without waiting for the next periodic
    check.
    """
    shopper = forgetful.shopper
    user_id = shopper.register()["user_id"]
    order_id = forgetful.order(user_id, "OrderNotPaid")
    listed = {flow.id for flow in forgetful.gateways.unfinished()}

    assert order_id in listed

    def healed() -> bool:
        forgetful.gateways.reconcile()
        return forgetful.is_mailed(user_id, order_id, "not_paid")

    shopper.until(healed, f"the mail of {order_id}")


def test_reconcile_requires_the_app_token(forgetful: Forgetful) -> None:
    """Without the app's token, GET and POST /reconcile return 403, because they list ids and cause
    work.
    """
    for method in ("GET", "POST"):
        answer = forgetful.shopper.http.request(method, "/reconcile")
        assert 403 == answer.status_code, json.dumps(dict(answer.headers))
