"""Tests of a store that reads but refuses writes: callers get errors in time, delivery pauses, and
all completes later.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, cast

import httpx
import psycopg
import pytest
import valkey

from sidecart.chassis.events import CONTENT_TYPE, now
from sidecart.edge.command import build_command
from sidecart.launcher.lifecycle.system import System
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

WAIT_SECONDS = 3
SPARE_SECONDS = 2.0
"""The tolerance beyond the caller's wait, on a busy machine."""
COUNTED_SECONDS = 16
STATEMENTS_MAX = {"postgres": 60, "redis": 320}
"""Some writes before the refusal is known, and one every two seconds from each of three apps.

A sidecar's Redis client sends a command four times when it is refused because of missing replicas.
"""
ORDERS = 4
REFUSES = "the store refuses writes"

pytestmark = pytest.mark.sidecars


@contextmanager
def refusing(shop: System) -> Iterator[None]:
    """Make the shop's store refuse writes and answer reads during the block."""
    if shop.options.store == "postgres":
        with psycopg.connect(shop.store_address, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET default_transaction_read_only = on")
            connection.execute("SELECT pg_reload_conf()")
        shop.deadline.until(lambda: is_read_only(shop), WAIT_SECONDS, lambda: "the server accepts writes", 0.05)
        try:
            yield
        finally:
            with psycopg.connect(shop.store_address, autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                connection.execute("SELECT pg_reload_conf()")
        return
    with closing(client(shop)) as server:
        server.config_set("min-replicas-to-write", 1)
        try:
            yield
        finally:
            server.config_set("min-replicas-to-write", 0)


def is_read_only(shop: System) -> bool:
    """Return whether PostgreSQL has read its settings again.

    It tells its connections before it accepts this new one.
    """
    with psycopg.connect(shop.store_address, autocommit=True) as connection:
        return connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)


def client(shop: System) -> valkey.Valkey:
    """Return a connection to the Redis server of the records."""
    return valkey.Valkey.from_url(f"redis://{shop.store_address}")


def refused_statements(shop: System) -> int:
    """Return the number of writes of records that the server has refused so far."""
    if shop.options.store == "postgres":
        with psycopg.connect(shop.store_address, autocommit=True) as connection:
            query = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
            row = connection.execute(query).fetchone()
            return int(row[0]) if row else 0
    with closing(client(shop)) as server:
        stats = cast(dict[str, Any], server.info("commandstats"))
        return int(stats.get("cmdstat_eval", {}).get("failed_calls", 0))


def is_broker_too(shop: System) -> bool:
    """Return whether the store is the broker's server; then no event arrives while it refuses
    writes.
    """
    return (shop.options.broker, shop.options.store) == ("redis", "redis")


def missing(shop: System, app_id: str) -> str:
    """Return the missing parts in an app's `/readyz` as one line; empty if the app is ready."""
    headers = {"dapr-api-token": shop.tokens[app_id]}
    answer = httpx.get(f"http://127.0.0.1:{shop.ports[app_id]}/readyz", headers=headers, trust_env=False)
    assert (answer.status_code == 200) == (answer.json()["missing"] == [])
    return "; ".join(answer.json()["missing"])


def health(shop: System, app_id: str) -> int:
    """Return the status of an app's `/healthz`."""
    return httpx.get(f"http://127.0.0.1:{shop.ports[app_id]}/healthz", trust_env=False).status_code


def placed(shopper: Shopper, user_id: str, key: str) -> tuple[httpx.Response, float]:
    """Order tea, held for WAIT_SECONDS; return the response and its seconds."""
    started = time.monotonic()
    headers = {"idempotency-key": key, "prefer": f"wait={WAIT_SECONDS}"}
    answer = shopper.http.post("/order/create", json={"user_id": user_id, "items": [TEA]}, headers=headers)
    return answer, time.monotonic() - started


def registered(shopper: Shopper, email: str) -> httpx.Response:
    """Register, held for WAIT_SECONDS, with the address as the key."""
    headers = {"idempotency-key": email, "prefer": f"wait={WAIT_SECONDS}"}
    return shopper.http.post("/user/register", json={"email": email, "name": "Ann"}, headers=headers)


def publish_commands(shopper: Shopper, user_id: str) -> None:
    """Publish a command to each of two services, as a gateway that has not noticed the refusal
    would.
    """
    order_id, new_id = str(uuid.uuid4()), str(uuid.uuid4())
    registration = {"email": new_address(), "name": "Ann"}
    order = {"user_id": user_id, "items": [TEA]}
    ids, placed = {"user_id": new_id}, {"order_id": order_id}
    for made in (
        build_command("UserCreateRequested", new_id, f"/user/{new_id}", registration, ids, at=now()),
        build_command("OrderCreateRequested", order_id, f"/order/{order_id}", order, placed, at=now()),
    ):
        answer = httpx.post(
            f"http://127.0.0.1:{shopper.shop.sidecars.port('gateway')}/v1.0/publish/pubsub/{made.topic}",
            content=made.event,
            headers={"content-type": CONTENT_TYPE, "dapr-api-token": shopper.shop.tokens["gateway-sidecar"]},
            trust_env=False,
        )
        assert answer.status_code == 204, answer.text


def until_it_reports_the_store(shopper: Shopper, app_id: str) -> None:
    """Wait until an app is not ready because of the store."""
    shopper.until(lambda: REFUSES in missing(shopper.shop, app_id), f"{app_id} to report the store")


def until_placed(shopper: Shopper, user_id: str, key: str) -> str:
    """Repeat an order with its key until it is placed; return its id."""
    shopper.until(lambda: placed(shopper, user_id, key)[0].status_code == 201, "an order")
    return str(placed(shopper, user_id, key)[0].json()["order_id"])


def test_callers_get_503_in_time_retries_are_few_and_all_completes_later(shopper: Shopper) -> None:
    """Callers get 503 within the wait, and apps send few writes; later each order is paid once and
    mailed.
    """
    shop, user, other_id = shopper.shop, shopper.register(), shopper.register()["user_id"]
    user_id, email, late = user["user_id"], user["email"], new_address()
    shopper.deposit(user_id, ORDERS * TEA_CENTS + 1)
    before = refused_statements(shop)
    with refusing(shop), ThreadPoolExecutor(ORDERS + 1) as pool:
        started = time.monotonic()
        registering = pool.submit(registered, shopper, late)
        answers = list(pool.map(lambda number: placed(shopper, user_id, f"{email}-{number}"), range(ORDERS)))

        assert {503} == {registering.result().status_code, *(answer.status_code for answer, _ in answers)}
        assert max(seconds for _, seconds in answers) < WAIT_SECONDS + SPARE_SECONDS, answers
        until_it_reports_the_store(shopper, "gateway")
        if not is_broker_too(shop):
            # An idle service notices the refusal at its first event.
            publish_commands(shopper, other_id)
            for app_id in ("order", "user"):
                until_it_reports_the_store(shopper, app_id)
                assert 503 == health(shop, app_id)
        early, seconds = placed(shopper, user_id, f"{email}-early")
        assert (503, "urn:sidecart:problem:unavailable") == (early.status_code, early.json()["type"])
        assert seconds < WAIT_SECONDS
        assert ORDERS * TEA_CENTS + 1 == shopper.balance(user_id), "a service without a refused write answers reads"
        # the full time in which writes are counted
        time.sleep(max(0.0, started + COUNTED_SECONDS - time.monotonic()))
        refused = refused_statements(shop) - before

    print(f"{refused} statements refused in {COUNTED_SECONDS} s")
    assert 0 < refused <= STATEMENTS_MAX[shop.options.store]
    for app_id in ("gateway", "user", "billing", "order", "notification"):
        shop.wait_ready(app_id)
    orders = [until_placed(shopper, user_id, f"{email}-{number}") for number in range(ORDERS)]
    assert ["OrderPaid"] * ORDERS == [shopper.final(order_id) for order_id in orders]
    shopper.until(lambda: registered(shopper, late).status_code == 201, "the user to be registered")
    shopper.wait_for_mails(email, ORDERS)
    shopper.until_prompt()
    assert 1 == shopper.balance(user_id)
    assert ORDERS == len(shopper.mails(email))
