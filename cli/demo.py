"""`sidecart demo`: both flows on a shop of its own, every event as it passes, the mails, the final states."""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from cli.catalogue import APPS, TOPICS
from cli.errors import LaunchError
from cli.run import say, shop_options, stopped_by_signals
from cli.shop import Shop
from cli.tap import Seen, Tap

EVENT_SECONDS_MAX = 10
CALL_SECONDS_MAX = 40  # longer than the longest wait that a caller may ask for
DEPOSIT_CENTS = 10_000
EMAIL, NAME = "ada@example.com", "Ada"
CHEAP = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
DEAR = {"sku": "yacht", "quantity": 1, "unit_price_cents": 99_000_000}
LEFT_CENTS = DEPOSIT_CENTS - 900


class DemoFailed(Exception):
    """Something differs from what the sequence diagram says; the message is the first difference."""


def run(options: argparse.Namespace) -> int:
    """Start, drive, compare, stop; 0 if everything was as the diagram says, else 1 and the first difference."""
    without = frozenset(options.without)
    if unknown := without - set(APPS):
        raise LaunchError(f"there is no app {', '.join(sorted(unknown))}: choose from {', '.join(APPS)}")
    patience = stopped_by_signals()
    with tempfile.TemporaryDirectory(prefix="sidecart-demo-") as folder:
        try:
            with Shop(shop_options(options, Path(folder), None, without), say, patience) as shop:
                Demo(shop).play()
        except DemoFailed as failure:
            say(f"\ndemo failed: {failure}")
            return 1
    say("\ndemo passed: every event of both flows, both mails, and every final state")
    return 0


class Demo:
    """One drive through both flows."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._print = threading.Lock()
        self._tap = Tap(shop, self._show)
        self._http = httpx.Client(base_url=shop.url, timeout=CALL_SECONDS_MAX, trust_env=False)

    def play(self) -> None:
        """Drive and compare; raise DemoFailed with the first difference."""
        with self._http, self._tap:
            user_id = self._register()
            self._deposit(user_id)
            paid = self._order(user_id, CHEAP, "the order that can be paid")
            self._expect_events(paid, "OrderPaymentCreated", "OrderPaid", "EmailRequested")
            not_paid = self._order(user_id, DEAR, "the order that cannot be paid")
            self._expect_events(not_paid, "OrderPaymentFailed", "OrderNotPaid", "EmailRequested")
            self._mails(paid, not_paid)
            self._states(user_id, paid, not_paid)

    # --- The flows

    def _register(self) -> str:
        self._title("User creation")
        user = self._post("/user/register", {"email": EMAIL, "name": NAME})
        user_id = str(user["user_id"])
        self._expect_events(user_id, "UserCreateRequested", "UserCreated", "BillingAccountCreated")
        return user_id

    def _deposit(self, user_id: str) -> None:
        self._title("A deposit, so that there is money to pay with")
        deposit = self._post("/account/deposit", {"user_id": user_id, "amount_cents": DEPOSIT_CENTS})
        self._expect("balance after the deposit", DEPOSIT_CENTS, deposit["balance_cents"])
        self._expect_events(str(deposit["deposit_id"]), "AccountDepositRequested", "AccountDeposited")

    def _order(self, user_id: str, item: Mapping[str, Any], what: str) -> str:
        self._title(f"Order placement: {what}")
        order = self._post("/order/create", {"user_id": user_id, "items": [item]})
        self._expect("status in the 201", "payment_pending", order["status"])
        order_id = str(order["order_id"])
        self._expect_events(order_id, "OrderCreateRequested", "OrderCreated", "OrderPaymentRequested")
        return order_id

    def _mails(self, paid: str, not_paid: str) -> None:
        self._title("The mails, as the mail server took them")
        for order_id, words in ((paid, "is paid"), (not_paid, "could not be paid")):
            mail = self._mail(order_id)
            self._expect(f"recipient of the mail about order {order_id}", EMAIL, mail["to"])
            if words not in mail["subject"] or order_id not in mail["text"] or order_id not in mail["html"]:
                raise DemoFailed(f"the mail about order {order_id} does not say that it {words}: {mail['subject']}")
            say(f"\n  To: {mail['to']}\n  Subject: {mail['subject']}\n")
            say("\n".join(f"  | {line}" for line in str(mail["text"]).rstrip().splitlines()))

    def _states(self, user_id: str, paid: str, not_paid: str) -> None:
        self._title("The final states")
        user = self._get(f"/user/{user_id}")
        self._expect("user", {"user_id": user_id, "email": EMAIL, "name": NAME}, user)
        account = self._get(f"/account/{user_id}")
        self._expect("balance", LEFT_CENTS, account["balance_cents"])
        self._expect("status", "paid", self._get(f"/order/{paid}")["status"])
        failed = self._get(f"/order/{not_paid}")
        self._expect("status", ("not_paid", "insufficient_funds"), (failed["status"], failed.get("reason")))
        self._wait_for("the notifications to be marked as sent", lambda: self._sent(user_id) == {paid, not_paid})
        self._get(f"/notification/{user_id}")

    # --- What they are made of

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        with self._print:
            say(f"{self._clock(time.time())}  client  -> POST {path}")
        answer = self._http.post(path, json=body)
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
            mails = httpx.get(f"{self._shop.mail_url}/mails", params={"to": EMAIL}, trust_env=False).json()
            found[:] = [mail for mail in mails if order_id in mail["text"]]
            return bool(found)

        self._wait_for(f"the mail about order {order_id}", arrived)
        return found[0]

    def _expect_events(self, subject: str, *topics: str) -> None:
        for topic in topics:

            def passed(topic: str = topic) -> bool:
                return any(one.topic == topic and one.event.get("subject") == subject for one in self._tap.seen)

            self._wait_for(f"{topic} to pass the broker (the {TOPICS[topic].publisher} service publishes it)", passed)

    def _wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        late = f"waited {EVENT_SECONDS_MAX} s for {what}"
        try:
            self._shop.patience.until(condition, EVENT_SECONDS_MAX, lambda: late)
        except LaunchError as error:
            raise DemoFailed(str(error)) from error

    def _expect(self, what: str, expected: object, actual: object) -> None:
        if expected != actual:
            raise DemoFailed(f"{what}: expected {expected!r}, was {actual!r}")

    def _show(self, seen: Seen) -> None:
        topic = TOPICS[seen.topic]
        readers = ", ".join(topic.consumers) or "whoever asks"
        with self._print:
            say(f"{self._clock(seen.at)}  {topic.publisher:>12} --({seen.topic})--> {readers}")

    def _title(self, text: str) -> None:
        with self._print:
            say(f"\n{text}")

    def _clock(self, at: float) -> str:
        return datetime.fromtimestamp(at).strftime("%H:%M:%S.%f")[:-3]
