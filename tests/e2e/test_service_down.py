"""A service that is stopped: the pending command is a 202, and it is kept when the service is back."""

from collections.abc import Callable

import pytest

from cli.shop import Shop
from tests.contracts.validate import http_problems
from tests.e2e.shopper import TEA_CENTS, Shopper


def ways(shop: Shop, part: str) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """How a part of the Order Service is stopped and started."""
    return (shop.stop_app, shop.start_app) if part == "app" else (shop.stop_pair, shop.start_pair)


@pytest.mark.parametrize("part", ["app", pytest.param("app and sidecar", marks=pytest.mark.sidecars)])
def test_a_stopped_order_service_gives_202_and_the_order_completes_when_it_is_back(shopper: Shopper, part: str) -> None:
    """202 with a location that answers 202 too, then the order, paid, and the mail."""
    stop, start = ways(shopper.shop, part)
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


def test_respond_async_is_accepted_at_once_and_carried_through(shopper: Shopper) -> None:
    """202 without waiting (or 201, if the reply was even faster), then the order."""
    user_id = shopper.register()["user_id"]

    answer = shopper.order(user_id, prefer="respond-async")

    assert answer.status_code in (201, 202)
    assert "respond-async" == answer.headers["preference-applied"]
    assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])
    assert "not_paid" == shopper.get(answer.headers["location"])["status"]


def test_a_stopped_user_service_stops_no_order_and_reads_say_503(shopper: Shopper) -> None:
    """An order of somebody who was seen goes on; a read that cannot be answered says when to come back."""
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


def test_mail_that_nobody_takes_waits_and_holds_up_nothing(shopper: Shopper) -> None:
    """With Notification stopped an order is paid all the same, and told of when it is back."""
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
