"""Tests of pacing: a user gets MAILS_PER_HOUR mails in an hour, the others wait, and no one else
does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.shopper import TEA_CENTS, Shopper

PER_HOUR = 2
ORDERS = 6
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def shopper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shopper]:
    """Return a client of a shop with a low limit and two replicas of Notification."""
    made = options(tmp_path_factory.mktemp("paced"))
    limited = replace(made, env={"MAILS_PER_HOUR": str(PER_HOUR)}, replicas={"notification": 2})
    with System(limited, print) as shop, Tap(shop) as tap, Shopper(shop, tap) as client:
        yield client


def listed(shopper: Shopper, user_id: str) -> list[dict[str, Any]]:
    """Return the notifications of a user."""
    answer = shopper.http.get(f"/notification/{user_id}").raise_for_status()
    return list(answer.json()["notifications"])


def sent(shopper: Shopper, user_id: str) -> int:
    """Return the number of mails that the mail server accepted for a user."""
    return sum(each["sent_at"] is not None for each in listed(shopper, user_id))


def test_excess_mails_wait_also_over_a_restart(shopper: Shopper) -> None:
    """Two of six mails are sent, and the others are due one hour after those before them."""
    user = shopper.register()
    shopper.deposit(user["user_id"], ORDERS * TEA_CENTS)
    began = datetime.now(UTC)
    orders = [shopper.order(user["user_id"]).json()["order_id"] for _ in range(ORDERS)]
    assert {"OrderPaid"} == {shopper.final(order_id) for order_id in orders}
    shopper.until(lambda: len(listed(shopper, user["user_id"])) == ORDERS, "all notifications")
    shopper.wait_for_mails(user["email"], PER_HOUR)
    waiting = sorted(each["not_before"] for each in listed(shopper, user["user_id"]) if "not_before" in each)
    hours = [round((datetime.fromisoformat(each) - began) / HOUR) for each in waiting]

    assert [1, 1, 2, 2] == hours
    shopper.shop.stop_app("notification")
    shopper.shop.start_app("notification")
    shopper.shop.wait_ready("notification")
    shopper.final(shopper.order(user["user_id"]).json()["order_id"])
    other = shopper.register()
    shopper.order(other["user_id"])
    assert 1 == len(shopper.wait_for_mails(other["email"], 1))
    shopper.until(lambda: len(listed(shopper, user["user_id"])) == ORDERS + 1, "the notification of the new order")
    assert PER_HOUR == sent(shopper, user["user_id"]) == len(shopper.mails(user["email"]))


def test_a_waiting_mail_is_a_finished_flow(shopper: Shopper) -> None:
    """The gateway need not repeat the command of an order whose mail waits."""
    user = shopper.register()
    orders = [shopper.order(user["user_id"]).json()["order_id"] for _ in range(PER_HOUR + 1)]
    shopper.until(lambda: len(listed(shopper, user["user_id"])) == len(orders), "all notifications")

    def unfinished() -> list[str]:
        url = f"http://127.0.0.1:{shopper.shop.ports['notification']}/unfinished/order/{','.join(orders)}"
        headers = {"dapr-api-token": shopper.shop.tokens["notification"]}
        answer = httpx.get(url, headers=headers, trust_env=False)
        return list(answer.raise_for_status().json()["unfinished"])

    shopper.until(lambda: unfinished() == [], "all mails to be settled")
    assert PER_HOUR == sent(shopper, user["user_id"])
