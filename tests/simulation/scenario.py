"""The commands of one seed: few users, high contention, clashing, early and erasing commands."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from typing import Any

from services.user.app import EXAMPLE_SECRET
from sidecart.chassis.keyed_hash import keyed_hash
from sidecart.edge.command import build_command
from sidecart.testkit.simulation.broker import Command
from sidecart.testkit.simulation.schedule import START

SKUS = {400: "tea", 700: "cup"}
"""The SKU of each price."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """The commands of one seed, and the ids of their users and orders."""

    commands: list[Command]
    user_ids: list[str]
    order_ids: list[str]
    clashing_ids: list[str]  # users who register the same address
    erased: dict[str, str]  # the erased users, each with its address


def scenario(seed: int) -> Scenario:
    """Generate a scenario; the same seed gives the same scenario."""
    rng, surprises = random.Random(f"scenario {seed}"), random.Random(f"prices {seed}")
    departures = random.Random(f"erasures {seed}")  # separate: keeps a seed's other commands the same
    commands: list[Command] = []

    def new_id() -> str:
        return str(uuid.UUID(int=rng.getrandbits(128), version=4))

    def add(topic: str, resource: str, ids: dict[str, str], body: dict[str, Any], may_change: bool = False) -> None:
        command = build_command(topic, resource, "", body, ids, at=START)
        commands.append(Command(topic, command.id, command.event, may_change=may_change))

    def register(user_id: str, email: str, name: str) -> None:
        body = {"email": email, "name": name}
        add("UserCreateRequested", user_id, {"user_id": user_id}, body, may_change=user_id in erased)

    def erase(user_id: str) -> None:
        body = {"address_hash": keyed_hash(EXAMPLE_SECRET, erased[user_id])}
        add("UserEraseRequested", user_id, {"user_id": user_id}, body)

    user_ids = [new_id() for _ in range(rng.choice((1, 2)))]
    order_ids: list[str] = []
    erased = {
        user_id: f"user{number}@example.com" for number, user_id in enumerate(user_ids) if departures.random() < 0.3
    }
    for number, user_id in enumerate(user_ids):
        register(user_id, f"user{number}@example.com", "Ann")
        if rng.random() < 0.3:
            register(user_id, f"user{number}@example.com", "Anna")  # the same key, another body
        for _ in range(rng.choice((1, 2))):
            deposit_id = new_id()
            for cents in rng.choice(((1_000,), (1_000,), (1_000, 2_000))):
                ids = {"deposit_id": deposit_id}
                add("AccountDepositRequested", deposit_id, ids, {"user_id": user_id, "amount_cents": cents})
        for _ in range(rng.choice((1, 2, 3))):
            order_id = new_id()
            order_ids.append(order_id)
            for quantity in rng.choice(((1,), (1,), (1, 2))):
                price = rng.choice(list(SKUS))
                wrong = 1 if surprises.random() < 0.05 else 0  # a price that the list does not have
                item = {"sku": SKUS[price], "quantity": quantity, "unit_price_cents": price + wrong}
                ids = {"order_id": order_id}
                add("OrderCreateRequested", order_id, ids, {"user_id": user_id, "items": [item]})
    clashing_ids = [new_id(), new_id()] if rng.random() < 0.3 else []
    for user_id in clashing_ids:
        register(user_id, rng.choice(("both@example.com", "BOTH@example.com")), "Both")
    for user_id in erased:
        erase(user_id)
    return Scenario(commands, user_ids, order_ids, clashing_ids, erased)
