"""A server whose memory is full refuses what it cannot store; later everything completes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import valkey

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers.valkey import ENV
from tests.e2e.conftest import store
from tests.e2e.shopper import TEA_CENTS, Shopper

SPARE_BYTES = 400_000
ORDERS_MAX = 2_000
WAIT_SECONDS = 2
IN_A_ROW = 3

pytestmark = [
    pytest.mark.sidecars,
    pytest.mark.only_on("redis"),  # RabbitMQ and PostgreSQL limit themselves
    pytest.mark.skipif(bool(os.environ.get(ENV)), reason="it changes the server"),
]


@contextmanager
def little_memory(shop: System) -> Iterator[valkey.Valkey]:
    """Leave the server some hundred kilobytes; give them back at the end."""
    with valkey.Valkey.from_url(f"redis://{shop.state.addresses[ENV]}") as server:
        before: Any = server.config_get("maxmemory*")
        assert "noeviction" == before["maxmemory-policy"]
        assert int(before["maxmemory"]) > 0
        memory: Any = server.info("memory")
        server.config_set("maxmemory", memory["used_memory"] + SPARE_BYTES)
        try:
            yield server
        finally:
            server.config_set("maxmemory", before["maxmemory"])


def is_full(answers: list[httpx.Response], status: int) -> bool:
    """Return whether the last answers show a full server; a single one may just be late."""
    return [status] * IN_A_ROW == [answer.status_code for answer in answers[-IN_A_ROW:]]


def test_a_full_server_refuses_orders_and_loses_none(shopper: Shopper) -> None:
    """Callers get 503 and may repeat the order. Every accepted order ends, and is paid once.

    With its records on another server, the gateway records each order, and answers 202.
    """
    shop, full = shopper.shop, 503 if store() == "redis" else 202
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, ORDERS_MAX * TEA_CENTS)
    with little_memory(shop) as server:
        answers: list[httpx.Response] = []
        while not is_full(answers, full) and len(answers) < ORDERS_MAX:
            answers.append(shopper.order(user_id, Prefer=f"wait={WAIT_SECONDS}"))
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {201, 202, 503}, statuses
        assert is_full(answers, full)
        accepted = [answer for answer in answers if answer.status_code in (201, 202)]
        assert answers[-1].headers["retry-after"]
        assert (full == 503) == (answers[-1].headers["content-type"] == "application/problem+json")
        assert shop.health.warnings_of_servers()
        server.ping()

    shopper.until_prompt()
    assert [] == shop.health.warnings_of_servers()
    order_ids = {answer.json()["order_id"] for answer in accepted}
    ends = [shopper.final(order_id) for order_id in order_ids]
    assert {"OrderPaid"} == set(ends)
    assert spent(shopper, user_id) >= len(order_ids) * TEA_CENTS
    shopper.until(lambda: spent(shopper, user_id) == TEA_CENTS * len(paid(shopper, user_id)), "one event per payment")


def spent(shopper: Shopper, user_id: str) -> int:
    """Return what the user has paid, in cents."""
    return ORDERS_MAX * TEA_CENTS - shopper.balance(user_id)


def paid(shopper: Shopper, user_id: str) -> set[str]:
    """Return the ids of the user's orders of which a payment passed."""
    # The shared shop also has events of other tests, whose data is odd.
    seen = (one for one in shopper.tap.seen if one.topic == "OrderPaid" and user_id in str(one.event.get("data")))
    return {one.event["subject"] for one in seen}
