"""Tests of the second flow: an order is placed, paid or not, and its user gets a mail."""

import json

from tests.contracts.validate import http_problems
from tests.e2e.attack import nothing_published
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address


def test_an_order_that_can_be_paid(shopper: Shopper) -> None:
    """The 201 arrives with the payment pending; then the order is paid, and a mail confirms it."""
    user = shopper.register("Ada")
    user_id = user["user_id"]
    assert 2_000 == shopper.deposit(user_id, 2_000)["balance_cents"]

    answer = shopper.order(user_id)
    order = answer.json()
    order_id = order["order_id"]

    assert (201, f"/order/{order_id}") == (answer.status_code, answer.headers["location"])
    placed = {"order_id": order_id, "user_id": user_id, "items": [TEA], "amount_cents": TEA_CENTS}
    assert placed | {"status": "payment_pending"} == order
    topics = ("OrderCreateRequested", "OrderCreated", "OrderPaymentRequested", "OrderPaymentCreated", "OrderPaid")
    events = [shopper.event(topic, order_id) for topic in topics]
    assert {events[0]["id"]} == {event["correlationid"] for event in events}
    assert placed | {"status": "paid"} == shopper.get(f"/order/{order_id}")
    assert 2_000 - TEA_CENTS == shopper.balance(user_id)
    assert [] == http_problems("order", order)

    mail = shopper.wait_for_mails(user["email"], 1)[0]
    assert f"Your order {order_id[-8:]} is paid" == mail["subject"]
    for part in (mail["text"], mail["html"]):
        assert all(words in part for words in (order_id, "tea", "9.00"))
    assert mail["html"].startswith("<!doctype html>")


def test_an_order_that_cannot_be_paid(shopper: Shopper) -> None:
    """The order is not paid, with a reason; the balance stays, and a mail explains it."""
    user = shopper.register("Bob")
    user_id = user["user_id"]
    shopper.deposit(user_id, TEA_CENTS - 1)

    order_id = shopper.order(user_id).json()["order_id"]

    for topic in ("OrderPaymentRequested", "OrderPaymentFailed", "OrderNotPaid"):
        shopper.event(topic, order_id)
    order = shopper.get(f"/order/{order_id}")
    assert ("not_paid", "insufficient_funds") == (order["status"], order["reason"])
    assert TEA_CENTS - 1 == shopper.balance(user_id)

    mail = shopper.wait_for_mails(user["email"], 1)[0]
    assert f"Your order {order_id[-8:]} could not be paid" == mail["subject"]
    for part in (mail["text"], mail["html"]):
        assert all(words in part for words in (order_id, "tea", "too low", "No money was taken"))


def test_notifications_are_listed_newest_first_with_the_time_they_were_sent(shopper: Shopper) -> None:
    """`sent_at` is set once the mail server has accepted the mail."""
    user = shopper.register()
    orders = []
    for _ in range(2):
        orders.append(shopper.order(user["user_id"]).json()["order_id"])
        shopper.wait_for_mails(user["email"], len(orders))
    path = f"/notification/{user['user_id']}"
    shopper.until(
        lambda: all(each["sent_at"] and "items" in each for each in shopper.get(path)["notifications"]),
        "sent_at, items",
    )

    listed = shopper.get(path)
    assert list(reversed(orders)) == [each["order_id"] for each in listed["notifications"]]
    assert {"not_paid"} == {each["kind"] for each in listed["notifications"]}
    for each in listed["notifications"]:
        order = shopper.get(f"/order/{each['order_id']}")
        assert (order["amount_cents"], order["items"]) == (each["amount_cents"], each["items"])
    assert [] == http_problems("notifications", listed)


def test_notification_saves_the_order(shopper: Shopper) -> None:
    """Notification saves the data of OrderCreated unchanged."""
    user_id = shopper.register()["user_id"]
    order_id = shopper.order(user_id).json()["order_id"]
    shopper.until(lambda: shopper.state("notification", f"order:{order_id}").status_code == 200, "the order's data")

    saved = shopper.state("notification", f"order:{order_id}").json()

    assert (order_id, user_id, [TEA], TEA_CENTS) == (
        saved["order_id"],
        saved["user_id"],
        saved["items"],
        saved["amount_cents"],
    )


def test_a_deposit_can_be_read_and_only_under_its_own_account(shopper: Shopper) -> None:
    """The deposit's location is below its account; another account returns 404."""
    user_id, other_id = shopper.register()["user_id"], shopper.register()["user_id"]
    answer = shopper.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": 70})
    deposit_id = answer.json()["deposit_id"]

    assert f"/account/{user_id}/deposit/{deposit_id}" == answer.headers["location"]
    assert 70 == shopper.get(answer.headers["location"])["balance_cents"]
    assert 404 == shopper.http.get(f"/account/{other_id}/deposit/{deposit_id}").status_code


def test_a_deposit_over_the_limit_of_a_balance_is_rejected(shopper: Shopper) -> None:
    """The gateway returns 409, and the balance stays."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 10**12 - 1)

    answer = shopper.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": 1})

    assert (409, "urn:sidecart:problem:balance_limit") == (answer.status_code, answer.json()["type"])
    assert 10**12 - 1 == shopper.balance(user_id)


def test_an_order_of_an_unknown_user_is_404_and_no_event(shopper: Shopper) -> None:
    """The gateway asks the User Service before it publishes an event."""
    stranger = shopper.acting.add(new_address())

    with nothing_published(shopper):
        answer = shopper.order(stranger)

    assert 404 == answer.status_code


def test_repeated_events_have_no_effect(shopper: Shopper) -> None:
    """Publishing each event of a paid order again causes no second payment, mail or outcome."""
    user = shopper.register()
    shopper.deposit(user["user_id"], 5_000)
    order_id = shopper.order(user["user_id"]).json()["order_id"]
    shopper.wait_for_mails(user["email"], 1)
    shopper.until(
        lambda: bool(shopper.state("notification", f"notification:{order_id}").json()["sent_at"]),
        "the record of the sent mail",
    )
    about = [one for one in shopper.tap.seen if one.event.get("subject") == order_id and one.topic != "EmailRequested"]
    for one in about:
        assert 204 == shopper.tap.publish(one.topic, _as_published(one.event))
    shopper.until(lambda: shopper.passed(order_id).count("EmailRequested") >= 2, "the last of the repeated events")

    # it completes after the repeated events, so these are processed
    after = shopper.order(user["user_id"]).json()["order_id"]
    assert "OrderPaid" == shopper.final(after)
    assert 5_000 - 2 * TEA_CENTS == shopper.balance(user["user_id"])
    mails = shopper.wait_for_mails(user["email"], 2)
    assert [1, 1] == [sum(order in mail["text"] for mail in mails) for order in (order_id, after)]


def _as_published(event: dict[str, object]) -> bytes:
    """Return the event without the attributes that the sidecar adds."""
    added = ("topic", "pubsubname", "traceid", "traceparent", "tracestate", "expiration")
    return json.dumps({name: value for name, value in event.items() if name not in added}).encode()
