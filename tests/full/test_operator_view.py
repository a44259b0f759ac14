"""The operator's view in a real browser, on each broker: 1,000 dead letters of three causes, of
which one group is replayed after its cause was removed.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, expect, sync_playwright

from sidecart.edge.callers import OPERATOR
from sidecart.issuer import keys, tokens
from sidecart.launcher.dead_letter_groups import Group, group_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topics import read_topics
from sidecart.launcher.topology import sidecar_of
from tests.e2e.test_dead_letters import event
from tests.full.live_page import Live, opened, shop_with_page
from tests.suites import STORE_OF_BROKER

COUNTS = {"OrderCreateRequested": 600, "OrderPaymentCreated": 300, "OrderPaid": 100}
BOSS = "boss@example.com"
SECONDS = 120
PUBLISHERS = 8
"""Concurrent publishes."""


@pytest.fixture(scope="module", params=list(STORE_OF_BROKER))
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with its live page, on each broker."""
    with shop_with_page(str(request.param), tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module")
def live(shop: System) -> Iterator[Live]:
    """Open the page; fail if the browser reports an error."""
    with sync_playwright() as playwright, opened(playwright, shop.ports["monitor"], shop.plan.page_key) as page:
        yield page
        assert [] == page.complaints


def call(client: httpx.Client, shop: System, app_id: str, path: str, body: object) -> None:
    """Send a POST request to the sidecar of an app."""
    kind = "application/cloudevents+json" if path.startswith("publish") else "application/json"
    headers = {"dapr-api-token": shop.tokens[sidecar_of(app_id)], "content-type": kind}
    url = f"http://127.0.0.1:{shop.sidecars.port(app_id)}/v1.0/{path}"
    client.post(url, content=json.dumps(body), headers=headers).raise_for_status()


def data_of(topic: str) -> dict[str, Any]:
    """Return data that the consumer cannot process; each has other values."""
    made = str(uuid.uuid4())
    if topic == "OrderPaymentCreated":  # complete, but its order does not exist
        return {"order_id": made, "user_id": str(uuid.uuid4()), "payment_id": str(uuid.uuid4())}
    return {"order_id": f"not a UUID: {made}"}


def publish_all(shop: System) -> list[dict[str, Any]]:
    """Publish all events of each topic; return those whose orders do not exist."""
    made = [
        {**event(topic, data), "subject": data["order_id"]}
        for topic, count in COUNTS.items()
        for data in (data_of(topic) for _ in range(count))
    ]
    with httpx.Client(trust_env=False, timeout=SECONDS) as client, ThreadPoolExecutor(PUBLISHERS) as pool:
        list(
            pool.map(
                lambda one: call(
                    client, shop, read_topics()[one["type"]].publisher, f"publish/pubsub/{one['type']}", one
                ),
                made,
            )
        )
    return [each for each in made if each["type"] == "OrderPaymentCreated"]


def groups_of(shop: System) -> dict[str, Group]:
    """Return the groups by topic; each topic has one cause here."""
    found = group_dead_letters(RunningState(shop.ports, shop.tokens)).groups
    assert len(found) == len({each.topic for each in found}), found
    return {each.topic: each for each in found}


def remove_the_cause(shop: System, payments: list[dict[str, Any]]) -> None:
    """Write the orders that the payments are for."""
    orders = []
    for payment in payments:
        data = payment["data"]
        state = {
            "order_id": data["order_id"],
            "user_id": data["user_id"],
            "items": [{"sku": "tea", "quantity": 1, "unit_price_cents": 450}],
            "amount_cents": 450,
            "command_id": payment["correlationid"],
            "pay_before": "2099-01-01T00:00:00.000Z",
            "status": "payment_pending",
        }
        orders.append({"key": f"order:{data['order_id']}", "value": {"state": state, "outbox": {}}})
    with httpx.Client(trust_env=False, timeout=SECONDS) as client:
        call(client, shop, "order", "state/statestore", orders)


def sign_in(live: Live, shop: System, roles: tuple[str, ...]) -> None:
    """Act by a token of the local issuer."""
    details = live.page.locator("#operator details")
    if details.get_attribute("open") is None:
        details.locator("summary").click()
    token = tokens.token(keys.load(shop.issuer_folder), BOSS, roles=roles)
    live.page.get_by_label("Access token of an operator").fill(token)
    live.page.get_by_role("button", name="Sign in").click()


def test_one_group_of_three_is_replayed_and_the_trail_names_the_operator(
    live: Live, shop: System, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page shows each cause with its count; the other groups stay, and the order's events over
    time are found by its id.
    """
    payments = publish_all(shop)
    shop.deadline.until(
        lambda: {topic: each.open for topic, each in groups_of(shop).items()} == COUNTS,
        SECONDS,
        lambda: str(groups_of(shop)),
        1.0,
    )
    found = groups_of(shop)["OrderPaymentCreated"]
    remove_the_cause(shop, payments)
    groups, run = live.page.locator("#dead-letters .groups tbody tr"), live.page.locator("#group-run .progress")
    expect(groups).to_have_count(len(COUNTS))
    for topic, count in COUNTS.items():
        expect(row(groups, topic)).to_contain_text(str(count))
    expect(row(groups, "OrderPaymentCreated")).to_contain_text("never placed")

    sign_in(live, shop, ())
    expect(live.page.locator("#sign-in output")).to_contain_text("403")
    live.complaints[:] = [each for each in live.complaints if "403" not in each]
    sign_in(live, shop, (OPERATOR,))
    expect(live.page.locator("#operator .who")).to_contain_text(BOSS)
    started = time.monotonic()
    row(groups, "OrderPaymentCreated").get_by_role("button", name="Replay").click()
    live.page.locator("#confirm-yes").click()
    expect(run).to_have_text(f"replay of group {found.id}: ended; 300 replayed")
    seconds = time.monotonic() - started

    expect(groups).to_have_count(len(COUNTS) - 1)
    entry = live.page.locator("#audit tbody tr").first
    for text in (BOSS, "replay", f"group {found.id}", "completed", "300 replayed"):
        expect(entry).to_contain_text(text)
    paid = payments[0]["data"]["order_id"]
    live.page.get_by_label("The id of a resource").fill(paid)
    live.page.get_by_role("button", name="Find", exact=True).click()
    expect(live.page.locator("#trace .moments")).to_contain_text("published OrderPaid")
    expect(live.page.locator("#trace .moments")).to_contain_text("passed OrderPaymentCreated")
    expect(live.page.locator("#trace .moments")).to_contain_text("replayed")
    with capsys.disabled():
        print(f"\nreplayed 300 of 1,000 dead letters in {seconds:.1f} s")


def row(groups: Locator, topic: str) -> Locator:
    """Return the row of a topic."""
    return groups.filter(has_text=f"{topic}of order").or_(groups.filter(has_text=f"{topic}of notification"))
