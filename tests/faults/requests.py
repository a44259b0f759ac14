"""The requests of the load: users register, deposit money, place orders, and leave."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from services.order import price_list
from shop.audit import DEPOSIT, ERASURE, ORDER, REGISTRATION
from sidecart.testkit.faults.ledger import Intent

LEAVER = "Leaver"
"""The name of a user who sends no further request than the erasure."""
SKUS = ("tea", "sample", "voucher")
PRICES = price_list.read(price_list.FILE).prices


@dataclass(slots=True)
class ShopRequests:
    """A source of requests: the first ones are registrations, then the shares decide."""

    users: int = 20
    order_share: float = 0.80
    deposit_share: float = 0.15
    leaver_share: float = 0.04
    user_ids: list[str] = field(default_factory=list)
    leaver_ids: list[str] = field(default_factory=list)

    def next(self, number: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
        """Return the route and the body of the next request."""
        draw = chance.random()
        if number < self.users or not self.user_ids:
            return _registration(number, chance)
        user_id = chance.choice(self.user_ids)
        if draw < self.order_share:
            items = [_item(chance) for _ in range(chance.randint(1, 3))]
            return ORDER, {"user_id": user_id, "items": items}
        if draw < self.order_share + self.deposit_share:
            return DEPOSIT, {"user_id": user_id, "amount_cents": chance.randint(1_000, 9_000)}
        if draw < self.order_share + self.deposit_share + self.leaver_share:
            if self.leaver_ids:
                return f"{ERASURE}/{self.leaver_ids.pop()}", {}
            return _registration(number, chance, LEAVER)
        return _registration(number, chance)

    def accepted(self, intent: Intent) -> None:
        """Let a registered user send later requests, or be erased."""
        if intent.route == REGISTRATION:
            is_leaver = intent.body["name"].startswith(LEAVER)
            (self.leaver_ids if is_leaver else self.user_ids).append(intent.resource)


def _item(chance: random.Random) -> dict[str, Any]:
    sku = chance.choice(SKUS)
    return {"sku": sku, "quantity": chance.randint(1, 4), "unit_price_cents": PRICES[sku]}


def _registration(number: int, chance: random.Random, title: str = "User") -> tuple[str, dict[str, Any]]:
    name = f"user{number}.{chance.getrandbits(64):016x}"
    return REGISTRATION, {"email": f"{name}@example.com", "name": f"{title} {number}"}
