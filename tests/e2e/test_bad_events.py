"""Tests of malformed, early and late events: each becomes a dead letter, or has its effect exactly
once.
"""

import base64
import copy
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY, read_topics
from tests.contracts.validate import examples
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

pytestmark = pytest.mark.sidecars

READERS = [(app_id, topic) for topic, way in read_topics().items() for app_id in way.consumers if app_id != GATEWAY]
MIB = 1024 * 1024


def fresh(topic: str, **data: Any) -> dict[str, Any]:
    """Return an example event of a topic with a new id and changed data."""
    event: dict[str, Any] = copy.deepcopy(next(iter(examples(topic).values())))
    new = {"id": str(uuid.uuid4()), "correlationid": str(uuid.uuid4()), "madeby": "a test"}
    return event | new | {"data": event["data"] | data}


def malformed(topic: str) -> Iterator[tuple[str, bytes]]:
    """Yield a description and a body for each defect; each readable id is a new one."""

    def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
        event = fresh(topic)
        change(event)
        return json.dumps(event).encode()

    # the dead letter of a body without an id is named by its bytes
    stamp = uuid.uuid4().hex.encode()
    yield "no JSON", b"<event " + stamp
    yield "not UTF-8", b'{"id": "\xff\xfe", "x": "' + stamp + b'"}'
    yield "no object", b'["' + stamp + b'"]'
    yield "nested too deep", b"[" * 50_000 + stamp
    yield "NaN", b'{"id": NaN, "x": "' + stamp + b'"}'
    yield "no id", changed(lambda event: (event.pop("id"), event.update(x=stamp.decode())))
    yield "an invalid id", changed(lambda event: event.update(id=f"../{stamp.decode()}"))
    yield "no correlationid", changed(lambda event: event.pop("correlationid"))
    yield "an invalid correlationid", changed(lambda event: event.update(correlationid=7))
    yield "another type", changed(lambda event: event.update(type="Probe-tap"))
    yield "no type", changed(lambda event: event.pop("type"))
    yield "another source", changed(lambda event: event.update(source="stranger"))
    yield "no source", changed(lambda event: event.pop("source"))
    yield "no data", changed(lambda event: event.pop("data"))
    yield "data null", changed(lambda event: event.update(data=None))
    yield "data text", changed(lambda event: event.update(data="x"))
    yield "data empty", changed(lambda event: event.update(data={}))
    yield "data out of range", changed(lambda event: event.update(data=dict.fromkeys(event["data"], -1)))
    yield "data true", changed(lambda event: event.update(data=dict.fromkeys(event["data"], True)))
    yield "more than a MiB", changed(lambda event: event.update(data=event["data"] | {"x": "x" * MIB}))


def delivery(message: bytes) -> bytes:
    """Return the delivery that a sidecar makes of a message; each has a new id."""
    made_up = {"id": str(uuid.uuid4()), "type": "com.dapr.event.sent", "source": "Dapr", "specversion": "1.0"}
    return json.dumps({"data_base64": base64.b64encode(message).decode(), **made_up}).encode()


def routes(shop: System, app_id: str) -> dict[str, str]:
    """Return an app's event routes by topic, requested in the way of its sidecar."""
    headers = {"dapr-api-token": shop.tokens[app_id]}
    answer = httpx.get(f"http://127.0.0.1:{shop.ports[app_id]}/dapr/subscribe", headers=headers, trust_env=False)
    return {each["topic"]: each["route"] for each in answer.raise_for_status().json()}


@pytest.mark.attack("events", "a malformed event posted to a service", "event parser")
@pytest.mark.parametrize(("app_id", "topic"), READERS)
def test_a_malformed_event_gets_200_and_one_dead_letter(shopper: Shopper, app_id: str, topic: str) -> None:
    """A malformed event is delivered twice: the app answers 200, keeps one dead letter, and
    publishes nothing.
    """
    shop = shopper.shop
    url = f"http://127.0.0.1:{shop.ports[app_id]}{routes(shop, app_id)[topic]}"
    headers = {"dapr-api-token": shop.tokens[app_id], "content-type": "application/cloudevents+json"}
    before = all_letters(shopper, app_id)
    bodies = list(malformed(topic))
    with httpx.Client(trust_env=False, timeout=60, headers=headers) as http:
        answers = {
            what: {http.post(url, content=delivery(body)).status_code for _ in range(2)} for what, body in bodies
        }
    new = [letter_id for letter_id in all_letters(shopper, app_id) if letter_id not in before]

    assert {what: {200} for what, _ in bodies} == answers
    assert len(bodies) == len(set(new)) == len(new)
    letters = [shopper.state(app_id, f"dead:{letter_id}").json() for letter_id in new]
    assert {topic} == {letter["topic"] for letter in letters}
    assert all(letter["reason"] for letter in letters)
    shopper.register()  # a later event was processed, so the earlier ones were, too
    sent = b"".join(body for _, body in bodies).decode(errors="replace")
    assert [] == [one.event for one in shopper.tap.seen if str(one.event.get("correlationid")) in sent]


def all_letters(shopper: Shopper, app_id: str) -> list[str]:
    """Return the ids on all pages of an app's dead-letter index."""
    ids: list[str] = []
    number = 0
    while (page := shopper.state(app_id, f"dead-index:{number}")).status_code == 200:
        ids += page.json()["ids"]
        number += 1
    return ids


@pytest.mark.attack("events", "a malformed event from the broker", "event parser")
@pytest.mark.parametrize(("app_id", "topic"), READERS)
def test_a_malformed_event_from_the_broker_is_one_dead_letter(shopper: Shopper, app_id: str, topic: str) -> None:
    """Each service that reads the topic keeps one dead letter with a reason."""
    event = fresh(topic) | {"data": {"wrong": True}}

    publish(shopper, event)
    key = f"dead:{event['id']}"
    shopper.until(lambda: shopper.state(app_id, key).status_code == 200, f"the dead letter of {app_id}")

    letter = shopper.state(app_id, key).json()
    assert (topic, True) == (letter["topic"], len(letter["reason"]) > 0)
    assert event["id"] == json.loads(letter["event"])["id"]


def test_unknown_fields_are_ignored(shopper: Shopper) -> None:
    """Unknown fields in the envelope and in the data, as from a later version, have no effect."""
    user_id, email = str(uuid.uuid4()), new_address()
    event = fresh("UserCreateRequested", user_id=user_id, email=email, later={"a": [1]}) | {
        "subject": user_id,
        "laterx": "y",
    }

    publish(shopper, event)

    created = shopper.event("UserCreated", user_id)
    assert {"user_id": user_id, "email": email, "name": event["data"]["name"]} == created["data"]
    assert 204 == shopper.state("user", f"dead:{event['id']}").status_code


def test_money_before_its_user_opens_an_account(shopper: Shopper) -> None:
    """A deposit and a payment before UserCreated open the account; it is announced after
    UserCreated.
    """
    user_id, deposit_id, order_id = (str(uuid.uuid4()) for _ in range(3))
    publish(shopper, fresh("AccountDepositRequested", user_id=user_id, deposit_id=deposit_id, amount_cents=1_000))
    assert 1_000 == shopper.event("AccountDeposited", deposit_id)["data"]["balance_cents"]
    pay_before = "2999-01-01T00:00:00.000Z"
    requested = fresh(
        "OrderPaymentRequested", user_id=user_id, order_id=order_id, amount_cents=400, pay_before=pay_before
    )
    publish(shopper, requested)
    # Order has not placed it, so its dead letter is at Order and not at Billing
    shopper.event("OrderPaymentCreated", order_id)

    assert "BillingAccountCreated" not in shopper.passed(user_id)
    publish(shopper, fresh("UserCreated", user_id=user_id, email=new_address()) | {"subject": user_id})
    shopper.event("BillingAccountCreated", user_id)
    assert 600 == shopper.balance(user_id)


def test_a_late_payment_takes_no_money(shopper: Shopper) -> None:
    """A payment requested after pay_before fails with too_late, and the balance stays."""
    user = shopper.register()
    shopper.deposit(user["user_id"], 1_000)
    order_id = str(uuid.uuid4())
    late = {"user_id": user["user_id"], "order_id": order_id, "pay_before": "2001-01-01T00:00:00.000Z"}
    publish(shopper, fresh("OrderPaymentRequested", amount_cents=1, **late))

    assert "too_late" == shopper.event("OrderPaymentFailed", order_id)["data"]["reason"]
    assert 1_000 == shopper.balance(user["user_id"])


def test_outcomes_before_the_address_are_mailed_once_it_arrives(shopper: Shopper) -> None:
    """OrderPaid twice, then OrderCreated, then UserCreated lead to one mail."""
    user_id, order_id, email = str(uuid.uuid4()), str(uuid.uuid4()), new_address()
    order = {"user_id": user_id, "order_id": order_id, "items": [TEA], "amount_cents": TEA_CENTS}
    paid = fresh("OrderPaid", **order) | {"subject": order_id}
    for event in (paid, paid, fresh("OrderCreated", **order) | {"subject": order_id}):
        publish(shopper, event)
    shopper.until(lambda: shopper.state("notification", f"order:{order_id}").status_code == 200, "the order's data")
    assert "EmailRequested" not in shopper.passed(order_id)

    publish(shopper, fresh("UserCreated", user_id=user_id, email=email) | {"subject": user_id})
    publish(shopper, paid)

    (mail,) = shopper.wait_for_mails(email, 1)
    assert order_id in mail["text"]
    shopper.until(
        lambda: bool(shopper.state("notification", f"notification:{order_id}").json()["sent_at"]),
        "the record of the sent mail",
    )
    publish(shopper, fresh("OrderPaid", **order) | {"subject": order_id})
    shopper.until(lambda: shopper.passed(order_id).count("EmailRequested") >= 2, "the mail to be requested again")
    marker = shopper.register()
    shopper.order(marker["user_id"])
    shopper.wait_for_mails(marker["email"], 1)
    assert 1 == len(shopper.mails(email))


@pytest.mark.attack("injection", "phishing text in a mail, by name and SKU", "text of mails")
def test_a_mail_shows_no_text_that_a_user_chose(shopper: Shopper) -> None:
    """A name and a SKU that would make the mail a phishing message, from records of any version."""
    user_id, order_id, email = str(uuid.uuid4()), str(uuid.uuid4()), new_address()
    name = "Your account is locked, visit http://evil.example"
    publish(shopper, fresh("UserCreated", user_id=user_id, email=email, name=name) | {"subject": user_id})
    items = [TEA, TEA | {"sku": "www.evil.example"}, TEA | {"sku": "a\nlocked\u202e"}]
    order = {"user_id": user_id, "order_id": order_id, "items": items, "amount_cents": 3 * TEA_CENTS}
    publish(shopper, fresh("OrderPaid", **order) | {"subject": order_id})

    (mail,) = shopper.wait_for_mails(email, 1)
    for part in (mail["subject"], mail["text"], mail["html"]):
        assert [] == [word for word in ("evil", "locked", "http", "www", "\u202e") if word in part]
    assert "x article 2 at" in mail["text"]
    assert f"x {TEA['sku']} at" in mail["text"]


def publish(shopper: Shopper, event: dict[str, Any]) -> None:
    """Publish an event in the way of an app."""
    assert 204 == shopper.tap.publish(event["type"], json.dumps(event).encode())
