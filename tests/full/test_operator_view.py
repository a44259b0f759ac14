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
from sidecart.monitor.page_tokens import ADDRESS
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
    expect(entry).to_contain_text(f"group {found.id}: 300 dead letters")
    paid = payments[0]["data"]["order_id"]
    live.page.get_by_label("The id of a resource").fill(paid)
    live.page.get_by_role("button", name="Find", exact=True).click()
    expect(live.page.locator("#trace .moments")).to_contain_text("published OrderPaid")
    expect(live.page.locator("#trace .moments")).to_contain_text("passed OrderPaymentCreated")
    expect(live.page.locator("#trace .moments")).to_contain_text("replayed")
    with capsys.disabled():
        print(f"\nreplayed 300 of 1,000 dead letters in {seconds:.1f} s")


def test_a_dialog_names_what_its_action_selects(live: Live, shop: System) -> None:
    """It has the cause, the id and the number of a group, and the id and reason of one dead letter.
    Discarding looks different, and the dialog says that it cannot be undone.
    """
    page, dialog = live.page, live.page.locator("#confirm")
    groups, newest = page.locator("#dead-letters .groups tbody tr"), page.locator("#dead-letters .newest tbody tr")
    found = groups_of(shop)["OrderPaid"]
    colors = set()
    for action, warned in (("Replay", 0), ("Discard", 1)):
        row(groups, "OrderPaid").get_by_role("button", name=action).click()
        for text in (
            f"{action} all 100 dead letters of this group?",
            found.reason,
            found.id,
            "OrderPaid of notification",
        ):
            expect(dialog).to_contain_text(text)
        expect(dialog.get_by_text("You cannot undo this")).to_have_count(warned)
        colors.add(page.locator("#confirm-yes").evaluate("one => getComputedStyle(one).backgroundColor"))
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        page.keyboard.press("Escape")
    assert 2 == len(colors)

    button = newest.first.get_by_role("button", name="Discard")
    name = button.get_attribute("aria-label") or ""
    button.click()
    expect(dialog).to_contain_text("Discard this dead letter?")
    expect(dialog).to_contain_text(name.rpartition(", ")[2])
    expect(dialog).to_contain_text(newest.first.locator(".reason > span").first.inner_text())
    page.keyboard.press("Escape")


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1440])
def test_every_button_is_reached_without_sideways_scrolling(live: Live, shop: System, width: int) -> None:
    """No table is wider than its panel, and each button lies within the viewport."""
    with live.seen_as(width, 844) as page:
        page.get_by_label("The id of a resource").fill(groups_of(shop)["OrderPaid"].example)
        page.get_by_role("button", name="Find", exact=True).click()
        for shown in ("#dead-letters .newest table", "#audit table", "#trace table", "#lag h3"):
            page.locator(shown).first.wait_for()
        too_wide = page.evaluate(TOO_WIDE)
        outside = page.locator("main button:visible").evaluate_all(OUTSIDE)
        discards = page.locator("#dead-letters").get_by_role("button", name="Discard").count()

    assert ([], []) == (too_wide, outside)
    assert discards > len(COUNTS)


TOO_WIDE = """[...document.querySelectorAll("main section, main .scroll, main .list, main tbody tr")]
    .filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth)
    .map(one => `${one.closest("section").id} ${one.className}: ${one.scrollWidth} > ${one.clientWidth}`)"""
OUTSIDE = """all => all.filter(one => {
        const { left, right } = one.getBoundingClientRect();
        const panel = one.closest("section").getBoundingClientRect();
        return left < panel.left || right > panel.right || right > document.documentElement.clientWidth;
    }).map(one => one.ariaLabel ?? one.textContent)"""


def test_a_panel_shows_whole_rows_and_all_of_them_after_a_click(live: Live) -> None:
    """The operator's panels have no scroll area of their own; the choice outlives a refresh."""
    with live.seen_as(1440, 900) as page:
        rows = page.locator("#dead-letters .newest tbody tr:visible")
        expect(rows).to_have_count(8)
        more = page.locator("#dead-letters .newest").get_by_role("button", name="Show all 50")
        more.focus()
        page.keyboard.press("Enter")
        expect(rows).to_have_count(50)
        expect(page.locator("#dead-letters .newest [aria-expanded=true]")).to_be_focused()
        assert [] == page.evaluate(SCROLLING)


SCROLLING = """[...document.querySelectorAll("#center .scroll")]
    .filter(one => one.scrollHeight > one.clientHeight + 1).map(one => one.closest("section").id)"""


def test_an_operator_signs_out(live: Live, shop: System) -> None:
    """While signed in, the form is hidden; after it, the page acts as before."""
    page, who = live.page, live.page.locator("#operator .who")
    sign_out = page.get_by_role("button", name="Sign out")
    if sign_out.is_hidden():
        sign_in(live, shop, (OPERATOR,))
    expect(who).to_contain_text(BOSS)
    expect(page.get_by_text("Act by a token of your own")).to_be_hidden()
    sign_out.click()

    expect(who).to_contain_text(ADDRESS)
    expect(sign_out).to_be_hidden()
    expect(page.get_by_text("Act by a token of your own")).to_be_focused()
    sign_in(live, shop, (OPERATOR,))
    expect(sign_out).to_be_focused()


def row(groups: Locator, topic: str) -> Locator:
    """Return the row of a topic."""
    return groups.filter(has_text=f"{topic}of order").or_(groups.filter(has_text=f"{topic}of notification"))
