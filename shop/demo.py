"""The demo: runs both flows and prints every event, the mails and the final states.

Of a running shop (`sidecart demo --url`) it sees only HTTP responses and mails.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import httpx

from sidecart.cli.run import say
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import read_topics
from sidecart.testkit.tap import Seen, Tap

EVENT_SECONDS_MAX = 10
CALL_SECONDS_MAX = 40  # longer than the longest wait that a caller may request
DEPOSIT_CENTS = 10_000
NAME = "Ada"
CHEAP = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
DEAR = {"sku": "yacht", "quantity": 1, "unit_price_cents": 99_000_000}
LEFT_CENTS = DEPOSIT_CENTS - 900


class DemoFailed(Exception):
    """The shop differs from the sequence diagram; the message is the first difference."""


class Demo:
    """One run of both flows on the shop at `url`, with the mail catcher at `mail_url`."""

    def __init__(self, url: str, mail_url: str, deadline: Deadline, auth: httpx.Auth, email: str = "") -> None:
        """Send requests with the tokens of `auth`; `email` is the address in them, or a new one."""
        self._mail_url = mail_url
        self._deadline = deadline
        self._print = threading.Lock()
        self._tap: Tap | None = None
        # unique, because the shop may have data of earlier runs
        self._email = email or f"ada.{uuid.uuid4().hex[:8]}@example.com"
        self._before_cents = 0
        self._http = httpx.Client(base_url=url, timeout=CALL_SECONDS_MAX, trust_env=False, auth=auth)

    def play(self, tap: Tap | None = None) -> None:
        """Run and compare, including the events if there is a tap.

        Raises DemoFailed with the first difference.
        """
        self._tap = tap
        with self._http:
            user_id = self._register()
            self._deposit(user_id)
            paid = self._order(user_id, CHEAP, "the order that can be paid")
            self._expect_events(paid, "OrderPaymentCreated", "OrderPaid", "EmailRequested")
            not_paid = self._order(user_id, DEAR, "the order that cannot be paid")
            self._expect_events(not_paid, "OrderPaymentFailed", "OrderNotPaid", "EmailRequested")
            self._mails(paid, not_paid)
            self._states(user_id, paid, not_paid)
        events = "every event of both flows" if tap else "every answer"
        say(f"\ndemo passed: {events}, both mails, and every final state")

    # --- The flows

    def _register(self) -> str:
        self._title("User creation")
        user = self._post("/user/register", {"email": self._email, "name": NAME})
        user_id = str(user["user_id"])
        self._expect_events(user_id, "UserCreateRequested", "UserCreated", "BillingAccountCreated")
        return user_id

    def _deposit(self, user_id: str) -> None:
        self._title("A deposit that pays for the first order")
        deposit = self._post("/account/deposit", {"user_id": user_id, "amount_cents": DEPOSIT_CENTS})
        self._before_cents = int(deposit["balance_cents"]) - DEPOSIT_CENTS  # of earlier runs with the same token
        self._expect_events(str(deposit["deposit_id"]), "AccountDepositRequested", "AccountDeposited")

    def _order(self, user_id: str, item: Mapping[str, Any], what: str) -> str:
        self._title(f"Order placement: {what}")
        order = self._post("/order/create", {"user_id": user_id, "items": [item]})
        self._expect("status in the 201", "payment_pending", order["status"])
        order_id = str(order["order_id"])
        self._expect_events(order_id, "OrderCreateRequested", "OrderCreated", "OrderPaymentRequested")
        return order_id

    def _mails(self, paid: str, not_paid: str) -> None:
        self._title("The mails at the mail server")
        for order_id, words in ((paid, "is paid"), (not_paid, "could not be paid")):
            mail = self._mail(order_id)
            self._expect(f"recipient of the mail about order {order_id}", self._email, mail["to"])
            if words not in mail["subject"] or order_id not in mail["text"] or order_id not in mail["html"]:
                raise DemoFailed(f"the mail about order {order_id} does not say that it {words}: {mail['subject']}")
            say(f"\n  To: {mail['to']}\n  Subject: {mail['subject']}\n")
            say("\n".join(f"  | {line}" for line in str(mail["text"]).rstrip().splitlines()))

    def _states(self, user_id: str, paid: str, not_paid: str) -> None:
        self._title("The final states")
        user = self._get(f"/user/{user_id}")
        self._expect("user", {"user_id": user_id, "email": self._email, "name": NAME}, user)
        account = self._get(f"/account/{user_id}")
        self._expect("balance", self._before_cents + LEFT_CENTS, account["balance_cents"])
        self._expect("status", "paid", self._get(f"/order/{paid}")["status"])
        failed = self._get(f"/order/{not_paid}")
        self._expect("status", ("not_paid", "insufficient_funds"), (failed["status"], failed.get("reason")))
        self._wait_for("the notifications to be marked as sent", lambda: {paid, not_paid} <= self._sent(user_id))
        self._get(f"/notification/{user_id}")

    # --- Building blocks

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._print:
            say(f"{self._clock(time.time())}  client  -> POST {path}")
        try:
            answer = self._http.post(path, json=body)
        except httpx.TransportError as error:
            raise DemoFailed(f"no shop answers at {self._http.base_url}: {error}") from error
        took_ms = answer.elapsed.total_seconds() * 1000
        with self._print:
            say(
                f"{self._clock(time.time())}  client  <- {answer.status_code} {answer.reason_phrase} ({took_ms:.0f} ms)"
            )
        if answer.status_code != 201:
            raise DemoFailed(f"POST {path} was answered {answer.status_code}, not 201: {answer.text[:300]}")
        return dict(answer.json())

    def _get(self, path: str) -> dict[str, Any]:
        answer = self._http.get(path)
        say(f"  GET {path} -> {answer.status_code} {answer.text[:400]}")
        if answer.status_code != 200:
            raise DemoFailed(f"GET {path} was answered {answer.status_code}, not 200")
        return dict(answer.json())

    def _sent(self, user_id: str) -> set[str]:
        notifications = self._http.get(f"/notification/{user_id}").json().get("notifications", [])
        return {str(each["order_id"]) for each in notifications if each["sent_at"]}

    def _mail(self, order_id: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def arrived() -> bool:
            mails = httpx.get(f"{self._mail_url}/mails", params={"to": self._email}, trust_env=False).json()
            found[:] = [mail for mail in mails if order_id in mail["text"]]
            return bool(found)

        self._wait_for(f"the mail about order {order_id}", arrived)
        return found[0]

    def _expect_events(self, subject: str, *topics: str) -> None:
        if (tap := self._tap) is None:
            return
        for topic in topics:

            def passed(topic: str = topic) -> bool:
                return any(one.topic == topic and one.event.get("subject") == subject for one in tap.seen)

            self._wait_for(
                f"{topic} to pass the broker (the {read_topics()[topic].publisher} service publishes it)", passed
            )

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        late = f"waited {EVENT_SECONDS_MAX} s for {what}"
        try:
            self._deadline.until(condition, EVENT_SECONDS_MAX, lambda: late)
        except (LaunchError, httpx.TransportError) as error:
            raise DemoFailed(str(error)) from error

    def _expect(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            raise DemoFailed(f"{what}: expected {expected!r}, was {actual!r}")

    def show(self, seen: Seen) -> None:
        """Print an event that the tap received."""
        topic = read_topics()[seen.topic]
        readers = ", ".join(topic.consumers) or "no consumer"
        with self._print:
            say(f"{self._clock(seen.at)}  {topic.publisher:>12} --({seen.topic})--> {readers}")

    def _title(self, text: str) -> None:
        with self._print:
            say(f"\n{text}")

    def _clock(self, at: float) -> str:
        return datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]
