"""Tests of a stopped service: the caller gets 202, and the command completes when the service is
back.
"""

from collections.abc import Callable
from functools import partial

import pytest

from sidecart.launcher.lifecycle.system import System
from tests.contracts.validate import http_problems
from tests.e2e.replicas import start_pair, stop_pair
from tests.e2e.shopper import TEA_CENTS, Shopper


def stop_and_start(shop: System, part: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """Return the functions that stop and start a part of the Order Service."""
    return (shop.stop_app, shop.start_app) if part == "app" else (partial(stop_pair, shop), partial(start_pair, shop))


@pytest.mark.parametrize("part", ["app", pytest.param("app and sidecar", marks=pytest.mark.sidecars)])
def test_a_stopped_order_service_gives_202_and_the_order_completes_when_it_is_back(shopper: Shopper, part: str) -> None:
    """The location answers 202 too; later the order is paid and mailed."""
    stop, start = stop_and_start(shopper.shop, part)
    user = shopper.register()
    shopper.deposit(user["user_id"], 5_000)
    stop("order")
    try:
        answer = shopper.order(user["user_id"], prefer="wait=1")
        location = answer.headers["location"]
        meanwhile = shopper.http.get(location)
    finally:
        start("order")
    shopper.shop.wait_ready("order")

    assert (202, "wait=1", "1") == (
        answer.status_code,
        answer.headers["preference-applied"],
        answer.headers["retry-after"],
    )
    order_id = answer.json()["order_id"]
    assert (202, {"order_id": order_id, "status": "accepted"}) == (meanwhile.status_code, meanwhile.json())
    assert [] == http_problems("accepted", answer.json())
    assert "OrderPaid" == shopper.final(order_id)
    assert "paid" == shopper.get(location)["status"]
    assert 5_000 - TEA_CENTS == shopper.balance(user["user_id"])
    assert order_id in shopper.wait_for_mails(user["email"], 1)[0]["text"]


def test_respond_async_is_accepted_at_once_and_completed(shopper: Shopper) -> None:
    """The caller gets 202 without a wait, or 201 if the reply is even faster; then the order
    completes.
    """
    user_id = shopper.register()["user_id"]

    answer = shopper.order(user_id, prefer="respond-async")

    assert answer.status_code in (201, 202)
    assert "respond-async" == answer.headers["preference-applied"]
    assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])
    assert "not_paid" == shopper.get(answer.headers["location"])["status"]


def test_a_stopped_user_service_stops_no_order_and_its_reads_are_503(shopper: Shopper) -> None:
    """An order of a known user completes; a read of the service gets 503 with Retry-After."""
    user = shopper.register()
    shopper.deposit(user["user_id"], 5_000)
    shopper.shop.stop_app("user")
    try:
        order = shopper.order(user["user_id"])
        read = shopper.http.get(f"/user/{user['user_id']}")
    finally:
        shopper.shop.start_app("user")
    shopper.shop.wait_ready("user")

    assert 201 == order.status_code
    assert (503, "1") == (read.status_code, read.headers["retry-after"])
    assert "OrderPaid" == shopper.final(order.json()["order_id"])
    shopper.until(lambda: shopper.http.get(f"/user/{user['user_id']}").status_code == 200, "the user to be readable")


def test_a_stopped_notification_service_delays_mails_only(shopper: Shopper) -> None:
    """With Notification stopped, an order is paid; its mail is sent when the service is back."""
    user = shopper.register()
    shopper.deposit(user["user_id"], 5_000)
    shopper.shop.stop_app("notification")
    try:
        order_id = shopper.order(user["user_id"]).json()["order_id"]
        assert "OrderPaid" == shopper.final(order_id)
        assert [] == shopper.mails(user["email"])
    finally:
        shopper.shop.start_app("notification")
    shopper.shop.wait_ready("notification")

    assert order_id in shopper.wait_for_mails(user["email"], 1)[0]["text"]
