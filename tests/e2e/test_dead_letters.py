"""Tests of dead letters on a running shop: replayed, interrupted, discarded; malformed events delay
no other event.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from sidecart.launcher.audit import of_command_line
from sidecart.launcher.dead_letter_runs import perform, select
from sidecart.launcher.dead_letters import DeadLetter, Filter, find_dead_letters
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import read_topics
from sidecart.launcher.topology import sidecar_of
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper
from tests.replay import discard, replay

pytestmark = pytest.mark.sidecars

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MALFORMED = 20
OPERATORS = 3
ORDERS = 60


def state_of(shopper: Shopper) -> RunningState:
    """Return the access to dead letters that the command uses."""
    return RunningState(shopper.shop.ports, shopper.shop.tokens)


def event(topic: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return a complete event of the shop."""
    made = str(uuid.uuid4())
    return {
        "specversion": "1.0",
        "id": made,
        "type": topic,
        "source": read_topics()[topic].publisher,
        "subject": made,
        "correlationid": made,
        "madeby": "a test",
        "datacontenttype": "application/json",
        "data": data,
    }


def wait_for_letter(shopper: Shopper, letter_id: str, service: str) -> DeadLetter:
    """Wait for the open letter with this id at this service; return it."""
    selection = Filter((letter_id,), service)
    shopper.until(lambda: any(find_dead_letters(state_of(shopper), selection)), f"a dead letter of {service}")
    return next(find_dead_letters(state_of(shopper), selection))


def payment_of(order_id: str, user_id: str) -> dict[str, Any]:
    """Return a payment event for an order that Order does not know."""
    data = {"order_id": order_id, "user_id": user_id, "payment_id": str(uuid.uuid4())}
    return event("OrderPaymentCreated", data) | {"subject": order_id}


def test_a_replay_processes_the_event_once(shopper: Shopper) -> None:
    """A mail requested before its order is a dead letter; after an interrupted and two complete
    replays it is sent once.
    """
    user = shopper.register()
    requested = mail_requested(user)
    order_id, message_id = requested["subject"], requested["data"]["message_id"]
    shopper.tap.publish("EmailRequested", json.dumps(requested).encode())
    letter = wait_for_letter(shopper, requested["id"], "notification")
    state = state_of(shopper)

    again = replay(state, letter)  # nothing has changed
    reopened = wait_for_letter(shopper, requested["id"], "notification")
    stored = {"order_id": order_id, "user_id": user["user_id"], "kind": "paid", "subject": "News", "sent_at": None}
    write_state(shopper, "notification", f"notification:{order_id}", stored)
    interrupt(shopper, reopened)
    halfway = wait_for_letter(shopper, requested["id"], "notification")
    outcomes = [again, replay(state, halfway)]
    shopper.wait_for_mails(user["email"], 1)
    settled = next(find_dead_letters(state, Filter((requested["id"],), settled=True)))
    repeated = replay(state, settled)  # it is harmless
    shopper.until(lambda: 4 == shopper.passed(order_id).count("EmailRequested"), "the replays to pass")

    assert ["failed again", "replayed", "replayed"] == [*outcomes, repeated]
    assert (letter.time, True) == (reopened.first, reopened.time > letter.time)
    assert "there is no notification" in letter.reason
    assert "replaying" == halfway.status
    assert [] == list(find_dead_letters(state, Filter((requested["id"],))))
    assert [message_id] == [each["message_id"] for each in shopper.mails(user["email"])]


def interrupt(shopper: Shopper, letter: DeadLetter) -> None:
    """Do the first half of a replay: set the mark, and do not publish."""

    class ReplayInterrupted(Exception):
        pass

    class Interrupted(RunningState):
        def publish(self, app_id: str, topic: str, event: bytes, traceparent: str) -> None:
            """Fail in place of the publish."""
            raise ReplayInterrupted

    with pytest.raises(ReplayInterrupted):
        replay(Interrupted(shopper.shop.ports, shopper.shop.tokens), letter)


def write_state(shopper: Shopper, app_id: str, key: str, value: dict[str, Any]) -> None:
    """Write into a service's state, through its own sidecar."""
    url = f"http://127.0.0.1:{shopper.shop.sidecars.port(app_id)}/v1.0/state/statestore"
    headers = {"dapr-api-token": shopper.shop.tokens[sidecar_of(app_id)]}
    httpx.post(url, json=[{"key": key, "value": value}], headers=headers, trust_env=False).raise_for_status()


def test_a_discarded_letter_returns_only_with_its_event(shopper: Shopper) -> None:
    """A discarded letter leaves the list; it opens again when its event fails again."""
    payment = payment_of(str(uuid.uuid4()), str(uuid.uuid4()))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    letter = wait_for_letter(shopper, payment["id"], "order")
    state = state_of(shopper)

    discarded = discard(state, letter)
    remaining = list(find_dead_letters(state, Filter((payment["id"],))))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    back = wait_for_letter(shopper, payment["id"], "order")

    assert ("discarded", []) == (discarded, remaining)
    assert "never placed" in back.reason


def test_a_letter_keeps_its_trace_over_a_replay(shopper: Shopper) -> None:
    """A letter that fails again after a replay still has the trace of the original request."""
    payment = payment_of(str(uuid.uuid4()), str(uuid.uuid4()))
    shopper.tap.publish("OrderPaymentCreated", json.dumps(payment).encode())
    letter = wait_for_letter(shopper, payment["id"], "order")
    stored, etag = state_of(shopper).load("order", letter.key)
    assert etag is not None
    assert state_of(shopper).save("order", letter.key, {**stored, "traceparent": TRACE}, etag)

    replay(state_of(shopper), wait_for_letter(shopper, payment["id"], "order"))
    shopper.until(lambda: 2 == shopper.passed(payment["subject"]).count("OrderPaymentCreated"), "the replay to pass")

    assert TRACE == wait_for_letter(shopper, payment["id"], "order").traceparent


@pytest.mark.parametrize("malformed", [0, MALFORMED])
def test_malformed_events_delay_no_order(shopper: Shopper, malformed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Orders behind many malformed events are answered 201 and paid; the test prints the
    throughput.
    """
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, ORDERS * TEA_CENTS)
    dead = [event("OrderCreateRequested", {"order_id": "none", "number": number}) for number in range(malformed)]
    for each in dead:
        shopper.tap.publish("OrderCreateRequested", json.dumps(each).encode())

    async def send_all() -> list[httpx.Response]:
        async with shopper.concurrent() as http:
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
        print(f"\n{ORDERS} orders behind {malformed} malformed events: {ORDERS / seconds:.0f} a second")
    assert {201} == {answer.status_code for answer in answers}
    for each in dead:
        wait_for_letter(shopper, each["id"], "order")


def test_operators_at_the_same_time_replay_each_event_once(shopper: Shopper) -> None:
    """Three runs select the same dead letters; each outcome is in one of them."""
    user = shopper.register()
    made = [mail_requested(user) for _ in range(MALFORMED)]
    for each in made:
        shopper.tap.publish("EmailRequested", json.dumps(each).encode())
    for each in made:
        wait_for_letter(shopper, each["id"], "notification")
        stored = {"order_id": each["subject"], "user_id": user["user_id"], "kind": "paid", "subject": "News"}
        write_state(shopper, "notification", f"notification:{each['subject']}", {**stored, "sent_at": None})
    selection = select(state_of(shopper), Filter(tuple(each["id"] for each in made)))

    def run() -> dict[str, int]:
        return dict(perform(state_of(shopper), "replay", selection, of_command_line(), lambda *_: None))

    with ThreadPoolExecutor(OPERATORS) as pool:
        found = [each.result() for each in [pool.submit(run) for _ in range(OPERATORS)]]
    shopper.wait_for_mails(user["email"], MALFORMED)
    published = Counter(shopper.passed(each["subject"]).count("EmailRequested") for each in made)

    assert {"replayed", "another run"} >= {outcome for each in found for outcome in each}, found
    assert MALFORMED == sum(each.get("replayed", 0) for each in found)
    assert {2: MALFORMED} == published  # the first time, and its replay


def mail_requested(user: dict[str, Any]) -> dict[str, Any]:
    """Return the request of a mail for an order that Notification does not know."""
    order_id = str(uuid.uuid4())
    mail = {
        "message_id": f"<{uuid.uuid4()}@test>",
        "order_id": order_id,
        "user_id": user["user_id"],
        "to": user["email"],
        "subject": "News",
        "text": f"about {order_id}",
        "html": "<p>news</p>",
    }
    return event("EmailRequested", mail) | {"subject": order_id}
