"""The last test: every event of the whole run matches contracts/, and every topic has occurred."""

import uuid
from functools import partial

from sidecart.launcher.topics import app_ids, read_topics
from sidecart.testkit.tap import Seen
from tests.contracts.validate import unexplained, validate
from tests.e2e.shopper import SECONDS, TEA, Shopper, new_address


def test_every_event_of_this_run_is_valid_and_every_topic_was_seen(shopper: Shopper) -> None:
    """The test makes one event of each topic, then checks all events on the tap, except those
    that tests made and those that follow from them.
    """
    user = shopper.register()
    user_id, headers = user["user_id"], {"idempotency-key": uuid.uuid4().hex}
    shopper.http.post("/user/register", json={"email": user["email"], "name": "Bob"})
    for cents in (1_000, 2_000):
        shopper.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": cents}, headers=headers)
    for quantity in (1, 2):
        body = {"user_id": user_id, "items": [TEA | {"quantity": quantity}]}
        shopper.http.post("/order/create", json=body, headers=headers)
    orders = [shopper.order(user_id).json()["order_id"] for _ in range(2)]
    gone = shopper.register(email=new_address())
    assert 200 == shopper.http.delete(f"/user/{gone['user_id']}").status_code
    assert {"OrderPaid", "OrderNotPaid"} >= {shopper.final(order_id) for order_id in orders}
    shopper.wait_for_mails(user["email"], 3)

    # topics arrive at the tap independently of each other
    for topic in read_topics():
        assert shopper.tap.wait(partial(is_shown, topic), SECONDS) is not None, topic
    shopper.until(lambda: [] == without_cause(shopper), "the cause of each event")
    seen = [one for one in shopper.tap.seen if is_of_the_shop(one)]
    assert [] == [(one.topic, problem) for one in seen for problem in validate(one.event, one.topic)][:10]
    assert set(read_topics()) == {one.topic for one in seen}
    print(f"{len(seen)} events of {len(read_topics())} topics, each valid and each explained")


def is_shown(topic: str, one: Seen) -> bool:
    """Return whether this is an event of the shop on a topic."""
    return one.topic == topic and is_of_the_shop(one)


def without_cause(shopper: Shopper) -> list[str]:
    """Return the problems of events that no event on the tap explains."""
    seen = shopper.tap.seen
    strange = {one.event.get("correlationid") for one in seen if not is_of_the_shop(one)}
    found = (one.event for one in seen if is_of_the_shop(one) and one.event["correlationid"] not in strange)
    return unexplained(found)[:10]


def is_of_the_shop(one: Seen) -> bool:
    """Return whether an app made an event, and not a test."""
    return one.event.get("source") in app_ids() and "madeby" not in one.event
