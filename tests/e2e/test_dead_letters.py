"""Dead letters on a running shop: replayed once the reason is gone, interrupted, discarded; poison holds up nobody."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from typing import Any

import httpx
import pytest

from cli.dead_letters import DeadLetter, Filter, RunningState, discard, find_dead_letters, replay
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper

pytestmark = pytest.mark.sidecars

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
POISON = 20
ORDERS = 60


def state_of(shopper: Shopper) -> RunningState:
    """What the command reaches the letters by."""
    return RunningState(shopper.shop.ports, shopper.shop.tokens["DAPR_API_TOKEN"])


def event(topic: str, data: dict[str, Any]) -> dict[str, Any]:
    """A whole event of the shop."""
    made = str(uuid.uuid4())
    return {
        "specversion": "1.0",
        "id": made,
        "type": topic,
        "source": "test",
        "subject": made,
        "correlationid": made,
        "datacontenttype": "application/json",
        "data": data,
    }


def wait_for_letter(shopper: Shopper, letter_id: str, service: str) -> DeadLetter:
    """The open letter with this id at this service."""
    selection = Filter((letter_id,), service)
    shopper.until(lambda: any(find_dead_letters(state_of(shopper), selection)), f"a dead letter of {service}")
    return next(find_dead_letters(state_of(shopper), selection))


def payment_of(order_id: str, user_id: str) -> dict[str, Any]:
    """The news of a payment for an order that Order does not know yet."""
    data = {"order_id": order_id, "user_id": user_id, "payment_id": str(uuid.uuid4())}
    return event("OrderPaymentCreated", data) | {"subject": order_id}


def test_a_replay_carries_the_event_through_once(shopper: Shopper) -> None:
    """A mail asked for before its order was known: dead, then replayed, broken off and replayed again; sent once."""
    user = shopper.register()
    order_id, message_id = str(uuid.uuid4()), f"<{uuid.uuid4()}@test>"
    mail = {
        "message_id": message_id,
        "order_id": order_id,
        "user_id": user["user_id"],
        "to": user["email"],
        "subject": "Late news",
        "text": f"about {order_id}",
        "html": "<p>news</p>",
    }
    asked = event("EmailRequested", mail) | {"subject": order_id}
    shopper.tap.publish("EmailRequested", json.dumps(asked).encode())
    letter = wait_for_letter(shopper, asked["id"], "notification")
    state = state_of(shopper)

    again = replay(state, letter)  # nothing has changed: it fails once more, and says so sooner or later
    shopper.until(
        lambda: any(
            each.time > letter.time for each in find_dead_letters(state, Filter((asked["id"],), "notification"))
        ),
        "the letter to be open again",
    )
    reopened = wait_for_letter(shopper, asked["id"], "notification")
    stored = {"order_id": order_id, "user_id": user["user_id"], "kind": "paid", "subject": "Late news", "sent_at": None}
    write_state(shopper, "notification", f"notification:{order_id}", stored)
    interrupt(shopper, reopened)
    halfway = wait_for_letter(shopper, asked["id"], "notification")
    outcomes = [again, replay(state, halfway)]
    shopper.wait_for_mails(user["email"], 1)
    settled = next(find_dead_letters(state, Filter((asked["id"],), settled=True)))
    replay(state, settled)  # and once more, for somebody is never sure
    shopper.until(lambda: 4 == shopper.passed(order_id).count("EmailRequested"), "the replays to pass")
    shopper.until(
        lambda: "replayed" == next(find_dead_letters(state, Filter((asked["id"],), settled=True))).status, "the mark"
    )

    assert outcomes[0] in ("replayed", "failed again")
    assert "replayed" == outcomes[1]
    assert "there is no notification" in letter.reason
    assert "replaying" == halfway.status
    assert [] == list(find_dead_letters(state, Filter((asked["id"],))))
    assert [message_id] == [each["message_id"] for each in shopper.mails(user["email"])]


def interrupt(shopper: Shopper, letter: DeadLetter) -> None:
    """Do the first half of a replay: the mark, and not the publish."""

    class BrokenOff(Exception):
        pass

    class Interrupted(RunningState):
        def publish(self, service: str, topic: str, event: bytes, traceparent: str) -> None:
            """Never come to it."""
            raise BrokenOff

    with pytest.raises(BrokenOff):
        replay(Interrupted(shopper.shop.ports, shopper.shop.tokens["DAPR_API_TOKEN"]), letter)


def write_state(shopper: Shopper, app_id: str, key: str, value: dict[str, Any]) -> None:
    """Write into a service's state, through its own sidecar."""
    url = f"http://127.0.0.1:{shopper.shop.sidecar_port(app_id)}/v1.0/state/statestore"
    headers = {"dapr-api-token": shopper.shop.tokens["DAPR_API_TOKEN"]}
    httpx.post(url, json=[{"key": key, "value": value}], headers=headers, trust_env=False).raise_for_status()


def test_a_discarded_letter_comes_back_only_with_its_event(shopper: Shopper) -> None:
    """It is off the list; if the event fails again it is news."""
    payment = payment_of(str(uuid.uuid4()), str(uuid.uuid4()))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    letter = wait_for_letter(shopper, payment["id"], "order")
    state = state_of(shopper)

    discarded = discard(state, letter)
    gone = list(find_dead_letters(state, Filter((payment["id"],))))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    back = wait_for_letter(shopper, payment["id"], "order")

    assert ("discarded", []) == (discarded, gone)
    assert "never placed" in back.reason


def test_a_letter_keeps_the_trace_over_a_replay(shopper: Shopper) -> None:
    """Whoever looks at it later finds the request that it came from."""
    payment = payment_of(str(uuid.uuid4()), str(uuid.uuid4()))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    letter = wait_for_letter(shopper, payment["id"], "order")
    stored, etag = state_of(shopper).load("order", letter.key)
    assert etag is not None
    assert state_of(shopper).save("order", letter.key, {**stored, "traceparent": TRACE}, etag)

    replay(state_of(shopper), wait_for_letter(shopper, payment["id"], "order"))
    shopper.until(lambda: 2 == shopper.passed(payment["subject"]).count("OrderPaymentCreated"), "the replay to pass")

    assert TRACE == wait_for_letter(shopper, payment["id"], "order").traceparent


@pytest.mark.parametrize("poison", [0, POISON])
def test_poison_holds_up_nothing_behind_it(shopper: Shopper, poison: int, capsys: pytest.CaptureFixture[str]) -> None:
    """So many events that nobody can use, then orders: all answered 201 and paid, the throughput beside it."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, ORDERS * TEA_CENTS)
    dead = [event("OrderCreateRequested", {"order_id": "none", "number": number}) for number in range(poison)]
    for each in dead:
        shopper.tap.publish("OrderCreateRequested", json.dumps(each).encode())

    async def send_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=shopper.shop.url, timeout=SECONDS, trust_env=False) as http:
            body, headers = {"user_id": user_id, "items": [TEA]}, {"prefer": "wait=30"}
            return await asyncio.gather(
                *(http.post("/order/create", json=body, headers=headers) for _ in range(ORDERS))
            )

    started = time.monotonic()
    answers = asyncio.run(send_all())
    seconds = time.monotonic() - started
    for answer in answers:
        assert "OrderPaid" == shopper.final(answer.json()["order_id"])

    with capsys.disabled():
        print(f"\n{ORDERS} orders behind {poison} poison events: {ORDERS / seconds:.0f} a second")
    assert {201} == {answer.status_code for answer in answers}
    for each in dead:
        wait_for_letter(shopper, each["id"], "order")
