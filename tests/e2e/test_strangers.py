"""Tests of forged and malformed events: forged ones have no effect, malformed ones become dead
letters.
"""

import json
import uuid

import httpx
import pytest

from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import read_topics
from tests.e2e.shopper import Shopper

pytestmark = pytest.mark.sidecars

TOKENS: tuple[dict[str, str], ...] = ({}, {"dapr-api-token": ""}, {"dapr-api-token": "guess"})


def forged(topic: str, data: dict[str, object]) -> dict[str, object]:
    """Return an event that would be valid if it came from the sidecar."""
    made = str(uuid.uuid4())
    return {
        "specversion": "1.0",
        "id": made,
        "type": topic,
        "source": read_topics()[topic].publisher,
        "correlationid": made,
        "madeby": "a test",
        "data": data,
    }


@pytest.mark.attack("processes", "post an event to each app", "token of an app")
def test_a_forged_event_posted_to_a_port_has_no_effect(shopper: Shopper) -> None:
    """The gateway and every service answer 403 without the right token, and no money appears."""
    user_id = shopper.register()["user_id"]
    shopper.event("BillingAccountCreated", user_id)
    deposit = forged(
        "AccountDepositRequested", {"deposit_id": str(uuid.uuid4()), "user_id": user_id, "amount_cents": 999}
    )
    statuses = set()
    for app_id in ("gateway", "user", "billing", "order", "notification"):
        url = f"http://127.0.0.1:{shopper.shop.ports[app_id]}"
        for topic in read_topics():
            for component in ("pubsub", "inbox", "replies", "mailbus"):
                path = f"{url}/events/{component}/{topic}"
                statuses |= {
                    httpx.post(path, json=deposit, headers=each, trust_env=False).status_code for each in TOKENS
                }
        statuses.add(httpx.get(f"{url}/dapr/subscribe", trust_env=False).status_code)

    assert {403} == statuses
    assert 0 == shopper.balance(user_id)


@pytest.mark.attack("processes", "answer the request of another user", "token of an app")
def test_a_forged_reply_answers_no_request(shopper: Shopper) -> None:
    """A caller that guesses a command's id cannot answer another caller's request."""
    user_id = shopper.register()["user_id"]
    shopper.shop.stop_app("order")
    try:
        held = shopper.order(user_id, prefer="wait=0")
        command = shopper.event("OrderCreateRequested", held.json()["order_id"])
        reply = forged("OrderCreated", command["data"] | {"amount_cents": 1}) | {"correlationid": command["id"]}
        refused = shopper.http.post("/events/replies/OrderCreated", json=reply)
        still = shopper.http.get(held.headers["location"])
    finally:
        shopper.shop.start_app("order")
    shopper.shop.wait_ready("order")

    assert (202, 403, 202) == (held.status_code, refused.status_code, still.status_code)
    assert 900 == shopper.event("OrderCreated", held.json()["order_id"])["data"]["amount_cents"]


@pytest.mark.parametrize(
    ("app_id", "topic", "data", "reason"),
    [
        ("user", "UserCreateRequested", {"user_id": 7}, "malformed data"),
        ("billing", "AccountDepositRequested", {"user_id": str(uuid.uuid4()), "amount_cents": True}, "malformed data"),
        ("order", "OrderPaymentCreated", {"order_id": str(uuid.uuid4())}, "never placed"),
        ("notification", "OrderPaid", "not even an object", "malformed data"),
    ],
)
def test_an_unusable_event_is_a_dead_letter(
    shopper: Shopper, app_id: str, topic: str, data: object, reason: str
) -> None:
    """The service keeps the event once with its reason, and processes the next event."""
    event = forged(topic, {}) | {"data": data}
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    selection = Filter((str(event["id"]),))

    shopper.tap.publish(topic, json.dumps(event).encode())
    # The service writes the dead letter first, and its id into the index then.
    shopper.until(lambda: any(find_dead_letters(state, selection)), f"the dead letter of {app_id}")

    letter = shopper.state(app_id, f"dead:{event['id']}").json()
    assert (topic, True) == (letter["topic"], reason in letter["reason"])
    assert event["id"] == json.loads(letter["event"])["id"]
    (listed,) = find_dead_letters(state, selection)
    assert (app_id, topic, letter["reason"]) == (listed.service, listed.topic, listed.reason)
    user = shopper.register()
    assert "OrderNotPaid" == shopper.final(shopper.order(user["user_id"]).json()["order_id"])
