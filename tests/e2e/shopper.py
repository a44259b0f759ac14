"""Somebody who shops: calls the gateway over HTTP, and waits for what the tap and the mail server see."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, Self

import httpx

from cli.shop import Shop
from cli.tap import Seen, Tap

SECONDS = 60
"""How long anything may take before a test fails; all of it takes milliseconds on an idle machine."""

PROMPT_SECONDS_MAX = 5.0
"""For both flows, on a busy machine."""

TEA = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
TEA_CENTS = 900


class Shopper:
    """A client of one shop; a context manager."""

    def __init__(self, shop: Shop, tap: Tap) -> None:
        self.shop = shop
        self.tap = tap
        self.http = httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def register(self, name: str = "Ann", email: str | None = None) -> dict[str, Any]:
        """Register somebody new; returns the body of the 201."""
        answer = self.http.post("/user/register", json={"email": email or new_address(), "name": name})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def deposit(self, user_id: str, amount_cents: int) -> dict[str, Any]:
        """Pay money in; returns the body of the 201."""
        answer = self.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": amount_cents})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def order(self, user_id: str, **headers: str) -> httpx.Response:
        """Order tea for 900 cents."""
        return self.http.post("/order/create", json={"user_id": user_id, "items": [TEA]}, headers=headers)

    def event(self, topic: str, subject: str) -> dict[str, Any]:
        """Wait for an event to pass the broker."""

        def wanted(seen: Seen) -> bool:
            return seen.topic == topic and seen.event.get("subject") == subject

        seen = self.tap.wait(wanted, SECONDS)
        assert seen is not None, f"{topic} about {subject} did not pass within {SECONDS} s"
        return seen.event

    def final(self, order_id: str) -> str:
        """Wait for an order to end; returns the topic that says how."""
        ends = ("OrderPaid", "OrderNotPaid")
        seen = self.tap.wait(lambda one: one.topic in ends and one.event.get("subject") == order_id, SECONDS)
        assert seen is not None, f"order {order_id} did not end within {SECONDS} s"
        return seen.topic

    def passed(self, subject: str) -> list[str]:
        """The topics of the events about a subject that passed so far."""
        return [one.topic for one in self.tap.seen if one.event.get("subject") == subject]

    def get(self, path: str) -> dict[str, Any]:
        """Read something that is there."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def balance(self, user_id: str) -> int:
        """The balance of an account, in cents."""
        return int(self.get(f"/account/{user_id}")["balance_cents"])

    def mails(self, to: str) -> list[dict[str, Any]]:
        """What the mail server took for an address so far."""
        found = httpx.get(f"{self.shop.mail_url}/mails", params={"to": to}, trust_env=False)
        return list(found.raise_for_status().json())

    def wait_for_mails(self, to: str, count: int) -> list[dict[str, Any]]:
        """Wait until the mail server took so many."""
        self.until(lambda: len(self.mails(to)) >= count, f"{count} mails to {to}")
        return self.mails(to)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for something that no event announces."""
        self.shop.deadline.until(condition, SECONDS, lambda: f"waited {SECONDS} s for {what}")

    def until_prompt(self) -> None:
        """Wait until the shop is as before: a new user is registered, pays in, and has both kinds of orders, promptly.

        For a test that broke something, so that the next one finds it repaired.
        """

        def prompt() -> bool:
            began = time.monotonic()
            user = self.http.post("/user/register", json={"email": new_address(), "name": "Ann"})
            if user.status_code != 201:
                return False
            user_id = user.json()["user_id"]
            money = self.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": TEA_CENTS})
            orders = [self.order(user_id), self.order(user_id)]
            if {201} != {answer.status_code for answer in (money, *orders)}:
                return False
            for order in orders:
                self.final(order.json()["order_id"])
            return time.monotonic() - began <= PROMPT_SECONDS_MAX

        self.until(prompt, "prompt answers")

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Look into a service's state, through its own sidecar."""
        url = f"http://127.0.0.1:{self.shop.sidecar_port(app_id)}/v1.0/state/statestore/{key}"
        return httpx.get(url, headers={"dapr-api-token": self.shop.tokens["DAPR_API_TOKEN"]}, trust_env=False)


def new_address() -> str:
    """An address that nobody has."""
    return f"ann.{uuid.uuid4().hex}@example.com"
