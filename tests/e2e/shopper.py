"""A client of the gateway that also waits for events on the tap and for mails."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx

from shop.acting import acting
from sidecart.issuer import keys, tokens
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topology import sidecar_of
from sidecart.testkit.tap import Seen, Tap

SECONDS = 60
"""The time limit of every wait; each takes milliseconds on an idle machine."""

PROMPT_SECONDS_MAX = 5.0
"""The limit for both flows together, on a busy machine."""

TEA = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
TEA_CENTS = 900


class Shopper:
    """A client of one shop; a context manager."""

    def __init__(self, shop: System, tap: Tap) -> None:
        self.shop = shop
        self.tap = tap
        self.acting = acting(shop.issuer_folder)
        self.http = httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=self.acting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def register(self, name: str = "Ann", email: str | None = None) -> dict[str, Any]:
        """Register a new user; return the body of the 201."""
        answer = self.http.post("/user/register", json={"email": email or new_address(), "name": name})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def deposit(self, user_id: str, amount_cents: int) -> dict[str, Any]:
        """Deposit money; return the body of the 201."""
        answer = self.http.post("/account/deposit", json={"user_id": user_id, "amount_cents": amount_cents})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def order(self, user_id: str, **headers: str) -> httpx.Response:
        """Order tea for 900 cents; return the response."""
        return self.http.post("/order/create", json={"user_id": user_id, "items": [TEA]}, headers=headers)

    def concurrent(self, url: str = "", **options: Any) -> httpx.AsyncClient:
        """Return a client for concurrent requests of the same users; by default to the shop."""
        base_url = url or self.shop.url
        return httpx.AsyncClient(base_url=base_url, timeout=SECONDS, trust_env=False, auth=self.acting, **options)

    def caller(self, address: str, *, roles: tuple[str, ...] = (), scopes: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the header of a caller."""
        return {"authorization": f"Bearer {self.acting.token(address, roles, scopes)}"}

    def as_another(self, address: str) -> dict[str, str]:
        """Return the header of another caller, whose token has the same address."""
        return as_another(self.shop.issuer_folder, address)

    def event(self, topic: str, subject: str) -> dict[str, Any]:
        """Wait for an event to pass the broker; return it."""

        def matches(seen: Seen) -> bool:
            return seen.topic == topic and seen.event.get("subject") == subject

        seen = self.tap.wait(matches, SECONDS)
        assert seen is not None, f"{topic} about {subject} did not pass within {SECONDS} s"
        return seen.event

    def final(self, order_id: str) -> str:
        """Wait for an order to end; return the topic of its final event."""
        final_topics = ("OrderPaid", "OrderNotPaid")
        seen = self.tap.wait(lambda one: one.topic in final_topics and one.event.get("subject") == order_id, SECONDS)
        assert seen is not None, f"order {order_id} did not end within {SECONDS} s"
        return seen.topic

    def passed(self, subject: str) -> list[str]:
        """Return the topics of the events about a subject that passed so far."""
        return [one.topic for one in self.tap.seen if one.event.get("subject") == subject]

    def get(self, path: str) -> dict[str, Any]:
        """Read an existing resource; return its body."""
        answer = self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def balance(self, user_id: str) -> int:
        """Return the balance of an account, in cents."""
        return int(self.get(f"/account/{user_id}")["balance_cents"])

    def mails(self, to: str) -> list[dict[str, Any]]:
        """Return the mails that the mail server accepted for an address so far."""
        found = httpx.get(f"{self.shop.mail_url}/mails", params={"to": to}, trust_env=False)
        return list(found.raise_for_status().json())

    def wait_for_mails(self, to: str, count: int) -> list[dict[str, Any]]:
        """Wait until the mail server has accepted this many mails for an address; return them."""
        self.until(lambda: len(self.mails(to)) >= count, f"{count} mails to {to}")
        return self.mails(to)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition that no event announces."""
        self.shop.deadline.until(condition, SECONDS, lambda: f"waited {SECONDS} s for {what}")

    def until_prompt(self) -> None:
        """Wait until registration, deposit and both kinds of orders are prompt again.

        A test that breaks something calls this, so that the next test finds a repaired shop.
        """

        def prompt() -> bool:
            started = time.monotonic()
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
            return time.monotonic() - started <= PROMPT_SECONDS_MAX

        self.until(prompt, "prompt answers")

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Read a record of a service, through its own sidecar."""
        url = f"http://127.0.0.1:{self.shop.sidecars.port(app_id)}/v1.0/state/statestore/{key}"
        return httpx.get(url, headers={"dapr-api-token": self.shop.tokens[sidecar_of(app_id)]}, trust_env=False)


def as_another(folder: Path, address: str) -> dict[str, str]:
    """Return the header of another caller with an address, signed with the keys in a folder."""
    token = tokens.token(keys.load(folder), address, subject=f"another {address}")
    return {"authorization": f"Bearer {token}"}


def new_address() -> str:
    """Return an unused e-mail address."""
    return f"ann.{uuid.uuid4().hex}@example.com"
