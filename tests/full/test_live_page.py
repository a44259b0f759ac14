"""The live page in a real browser, used like a person would, on each broker.

SCREENSHOTS=docs/screenshots writes the README's pictures again.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect, sync_playwright

from gateway.app import SHOP
from shop.acting import acting
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import read_topics
from sidecart.launcher.topology import sidecar_of
from tests.e2e.shopper import TEA
from tests.full.live_page import SECONDS, Live, opened, shop_with_page
from tests.suites import STORE_OF_BROKER

GATEWAY, BROKER, USER = "Gateway", "Message Broker", "User Service"
BILLING, ORDER, NOTIFICATION = "Billing Service", "Order Service", "Notification Service"
REGISTRATION = {
    ("User", GATEWAY, "POST /user/register"),
    (GATEWAY, BROKER, "UserCreateRequested"),
    (BROKER, USER, "UserCreateRequested"),
    (USER, BROKER, "UserCreated"),
    (BROKER, GATEWAY, "UserCreated"),
    (GATEWAY, "User", "201 CREATED"),
    (BROKER, BILLING, "UserCreated"),
    (BILLING, BROKER, "BillingAccountCreated"),
    (BROKER, NOTIFICATION, "UserCreated"),
    (NOTIFICATION, NOTIFICATION, "Save user info"),
}
DEPOSIT = {
    ("User", GATEWAY, "POST /account/deposit"),
    (GATEWAY, BROKER, "AccountDepositRequested"),
    (BROKER, BILLING, "AccountDepositRequested"),
    (BILLING, BROKER, "AccountDeposited"),
    (BROKER, GATEWAY, "AccountDeposited"),
    (GATEWAY, "User", "201 CREATED"),
}
# The events of every order, whatever its outcome.
EVENTS = {
    (GATEWAY, BROKER, "OrderCreateRequested"),
    (BROKER, ORDER, "OrderCreateRequested"),
    (ORDER, BROKER, "OrderCreated"),
    (ORDER, BROKER, "OrderPaymentRequested"),
    (BROKER, GATEWAY, "OrderCreated"),
    (BROKER, NOTIFICATION, "OrderCreated"),
    (NOTIFICATION, NOTIFICATION, "Save order info"),
    (BROKER, BILLING, "OrderPaymentRequested"),
    (NOTIFICATION, BROKER, "EmailRequested"),
    (BROKER, NOTIFICATION, "EmailRequested"),
    (NOTIFICATION, "Mail", "Send email"),
}
CALL = {("User", GATEWAY, "POST /order/create"), (GATEWAY, "User", "201 CREATED")}
GOOD = {
    (BILLING, BROKER, "OrderPaymentCreated"),
    (BROKER, ORDER, "OrderPaymentCreated"),
    (ORDER, BROKER, "OrderPaid"),
    (BROKER, NOTIFICATION, "OrderPaid"),
}
BAD = {
    (BILLING, BROKER, "OrderPaymentFailed"),
    (BROKER, ORDER, "OrderPaymentFailed"),
    (ORDER, BROKER, "OrderNotPaid"),
    (BROKER, NOTIFICATION, "OrderNotPaid"),
}
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module", params=list(STORE_OF_BROKER))
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with its live page, on each broker."""
    with shop_with_page(str(request.param), tmp_path_factory) as running:
        yield running


@pytest.fixture(scope="module")
def browser_and_page(shop: System) -> Iterator[Live]:
    """Open the page once for all tests; each test sees the state that earlier tests left."""
    with sync_playwright() as playwright, opened(playwright, shop.ports["monitor"], shop.plan.page_key) as live:
        yield live


@pytest.fixture
def live(browser_and_page: Live) -> Iterator[Live]:
    """Return the page, and fail the test if the browser reports an error."""
    browser_and_page.complaints.clear()
    yield browser_and_page
    assert [] == browser_and_page.complaints


def answer_of(live: Live, form: str) -> Locator:
    """Return the element that shows a form's response."""
    return live.page.locator(f"#{form} output")


def registered(live: Live) -> str:
    """Register a user through the form, which selects the user in the other forms; return the
    address.
    """
    email = f"ann.{uuid.uuid4().hex[:8]}@example.com"  # short enough to be readable in a picture
    live.page.get_by_label("E-mail").fill(email)
    live.page.get_by_label("E-mail").press("Enter")
    expect(live.page.locator("#order-create select option:checked")).to_contain_text(email)
    return email


def deposited(live: Live) -> None:
    """Deposit 100.00 through the form, for the user that is selected."""
    live.page.get_by_label("Amount").fill("100")
    live.page.get_by_role("button", name="Deposit", exact=True).click()
    expect(answer_of(live, "account-deposit")).to_have_text("201 Created; balance €100.00")
    ended(live, "deposited")


def newest_flow(live: Live, title: str) -> None:
    """Show the newest flow with this title."""
    live.page.locator("#flows button", has_text=title).first.click()


def ended(live: Live, outcome: str) -> None:
    """Wait until the shown flow has this outcome."""
    expect(live.page.locator("#flow-outcome")).to_contain_text(outcome)


def user_id_of(live: Live) -> str:
    """Return the id of the user that is selected for orders."""
    return live.page.locator("#order-create select").input_value()


def ignore(live: Live, what: str) -> None:
    """Drop expected errors: the browser logs each error response and each lost connection."""
    live.complaints[:] = [each for each in live.complaints if what not in each]


def test_each_arrow_of_the_diagram_is_drawn_and_both_mails_come(live: Live) -> None:
    """Registration, deposit, a paid and an unpaid order, all through the forms, draw every
    documented arrow.
    """
    email = registered(live)
    arrows = live.until_arrows(len(REGISTRATION))
    assert REGISTRATION == set(arrows)

    deposited(live)
    arrows = live.until_arrows(len(DEPOSIT))
    assert DEPOSIT == set(arrows)

    live.page.get_by_role("button", name="Order", exact=True).click()
    expect(answer_of(live, "order-create")).to_have_text("201 Created")
    ended(live, "paid, order")
    arrows = live.until_arrows(len(CALL | EVENTS | GOOD))
    assert CALL | EVENTS | GOOD == set(arrows)
    assert arrows.index((GATEWAY, BROKER, "OrderCreateRequested")) < arrows.index((ORDER, BROKER, "OrderPaid"))
    assert ("User", GATEWAY, "POST /order/create") == arrows[0]

    live.page.get_by_role("button", name="Order a yacht").click()
    ended(live, "not paid, order")
    arrows = live.until_arrows(len(CALL | EVENTS | BAD))
    assert CALL | EVENTS | BAD == set(arrows)
    timeline = live.page.locator("#timeline li")
    expect(timeline.filter(has_text="OrderPaymentFailed")).to_contain_text("insufficient funds")

    mails = live.page.locator("#mailbox details", has_text=email)
    expect(mails.filter(has_text="could not be paid")).to_have_count(1)
    expect(mails).to_have_count(2)
    expect(live.page.locator("#panels tr", has_text=email)).to_contain_text("91.00")


def hold(_route: Route) -> None:
    """Leave the request unanswered."""


def test_a_balance_is_shown_only_after_it_was_read(live: Live) -> None:
    """A new page shows a placeholder, not a missing account, until it has read the balance."""
    account = live.page.locator("#panels tr", has_text=registered(live))
    expect(account).to_contain_text("0.00")
    live.page.route("**/api/account/**", hold)
    with live.page.expect_request("**/api/account/**"):
        live.page.reload()

    expect(account).to_contain_text("…")
    live.page.unroute("**/api/account/**")  # this also releases the held requests
    expect(account).to_contain_text("0.00")


def test_each_query_of_the_gateway_can_be_read(live: Live) -> None:
    """The form has a field for each id in the path, and shows the answer."""
    email = registered(live)
    form = live.page.locator("#read")
    form.get_by_label("Path").select_option("/user/{user_id}")
    form.locator("[name=user_id]").select_option(user_id_of(live))
    form.get_by_role("button", name="Read").click()

    expect(form.locator("output")).to_have_text("200 OK")
    expect(form.locator("pre")).to_contain_text(f'"email": "{email}"')
    assert [query.path for query in SHOP.queries if query.parameters] == form.locator(
        "option", has_text="/"
    ).all_inner_texts()
    form.get_by_label("Path").select_option("/account/{user_id}/deposit/{deposit_id}")
    form.locator("[name=deposit_id]").fill(str(uuid.uuid4()))
    form.get_by_role("button", name="Read").click()
    expect(form.locator("output")).to_contain_text("404")
    ignore(live, "status of 404")


def test_a_rejected_request_is_shown_with_its_reason(live: Live) -> None:
    """The page shows the status and the invalid field."""
    live.page.get_by_label("E-mail").fill("nobody")
    live.page.get_by_role("button", name="Register", exact=True).click()
    expect(answer_of(live, "user-register")).to_contain_text("422 Unprocessable")
    expect(answer_of(live, "user-register")).to_contain_text("email")
    newest_flow(live, "registers")
    ended(live, "rejected: 422")
    live.page.get_by_label("Show the newest").check()
    ignore(live, "status of 422")


def test_a_lost_connection_misses_nothing(live: Live, shop: System) -> None:
    """The page reports the lost connection at once; after it returns, the page shows every event in
    between.
    """
    auth = acting(shop.issuer_folder)
    user_id = auth.add(registered(live))
    live.relay.cut()
    expect(live.page.locator("#connection")).to_contain_text("The connection is lost")
    body = {"user_id": user_id, "items": [TEA]}
    order = httpx.post(f"{shop.url}/order/create", json=body, timeout=SECONDS, trust_env=False, auth=auth).json()
    live.relay.mend()

    expect(live.page.locator("#connection")).to_contain_text("Nothing was missed")
    ended(live, f"not paid, order {order['order_id']}")
    assert EVENTS | BAD == set(live.until_arrows(len(EVENTS | BAD)))
    ignore(live, "ERR_")


def test_a_dead_letter_is_replayed_by_keyboard(live: Live, shop: System) -> None:
    """After its cause is removed, the event is published again: the mail arrives, and the list is
    empty.
    """
    email, order_id = registered(live), str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "type": "EmailRequested",
        "source": "notification",
        "subject": order_id,
        "correlationid": str(uuid.uuid4()),
        "datacontenttype": "application/json",
        "data": {
            "message_id": f"<{uuid.uuid4()}@test>",
            "order_id": order_id,
            "user_id": user_id_of(live),
            "to": email,
            "subject": "Late news",
            "text": f"about {order_id}",
            "html": "<p>news</p>",
        },
    }
    call_sidecar(shop, "notification", "publish/pubsub/EmailRequested", event)
    replay = live.page.get_by_role("button", name=f"Replay EmailRequested of notification, {event['id']}")
    replay.wait_for()
    stored = {
        "order_id": order_id,
        "user_id": user_id_of(live),
        "kind": "paid",
        "subject": "Late news",
        "sent_at": None,
    }
    call_sidecar(shop, "notification", "state/statestore", [{"key": f"notification:{order_id}", "value": stored}])

    replay.focus()
    live.page.keyboard.press("Enter")
    expect(live.page.locator("#confirm")).to_be_visible()
    live.page.keyboard.press("Escape")
    expect(live.page.locator("#confirm")).to_be_hidden()
    expect(replay).to_be_focused()
    live.page.keyboard.press("Enter")
    live.page.keyboard.press("Shift+Tab")
    expect(live.page.locator("#confirm-yes")).to_be_focused()
    live.page.keyboard.press("Enter")

    expect(live.page.locator("#dead-letters .result")).to_have_text("EmailRequested of notification: replayed")
    expect(replay).to_have_count(0)
    expect(live.page.locator("#mailbox details", has_text="Late news").filter(has_text=email)).to_have_count(1)
    expect(live.page.locator("#timeline li", has_text="EmailRequested")).to_contain_text("seen 2 times")


def call_sidecar(shop: System, name: str, path: str, body: object) -> None:
    """Send a POST request to a service's own sidecar."""
    kind = "application/cloudevents+json" if path.startswith("publish") else "application/json"
    headers = {"dapr-api-token": shop.tokens[sidecar_of(name)], "content-type": kind}
    url = f"http://127.0.0.1:{shop.sidecars.port(name)}/v1.0/{path}"
    httpx.post(url, content=json.dumps(body), headers=headers, trust_env=False).raise_for_status()


def test_an_unreachable_service_is_shown(live: Live, shop: System) -> None:
    """The page shows the state in words rather than by color alone, and the waiting order as
    pending.
    """
    row = live.page.locator("#health tr", has_text="billing")
    expect(row).to_contain_text("ready")
    auth = acting(shop.issuer_folder)
    body = {"user_id": auth.add(registered(live)), "items": [TEA]}
    shop.kill("billing")
    httpx.post(f"{shop.url}/order/create", json=body, timeout=SECONDS, trust_env=False, auth=auth)

    expect(row).to_contain_text("no answer")
    ended(live, "payment pending")
    shop.starter.start_again("billing")
    ended(live, "not paid")
    expect(row).to_contain_text("ready")
    ignore(live, "status of 503")


@pytest.fixture(scope="module")
def letter(shop: System) -> None:
    """Create a dead letter that stays: a payment for an order that does not exist."""
    made = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": made,
        "type": "OrderPaymentCreated",
        "source": "billing",
        "subject": made,
        "correlationid": made,
        "datacontenttype": "application/json",
        "data": {"order_id": made, "user_id": made, "payment_id": made},
    }
    call_sidecar(shop, "billing", "publish/pubsub/OrderPaymentCreated", event)


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (320, "dark")])
def test_axe_finds_nothing_serious(live: Live, width: int, scheme: str) -> None:
    """axe finds no serious violation with all parts of the page filled, and the page has no
    horizontal scroll.
    """
    with live.seen_as(width, 900, "dark" if scheme == "dark" else "light") as page:
        discard = page.get_by_role("button", name="Discard OrderPaymentCreated")
        discard.wait_for()
        found = Axe().run(page).response["violations"]
        discard.click()
        expect(page.locator("#confirm")).to_be_visible()
        found += Axe().run(page).response["violations"]
        page.keyboard.press("Escape")
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    serious = [each for each in found if each["impact"] in SERIOUS]
    assert [] == [(each["id"], [node["target"] for node in each["nodes"]]) for each in serious]
    assert 0 == too_wide


def test_arrow_keys_move_through_the_flows(live: Live) -> None:
    """The list of flows is one tab stop, whatever its length."""
    with live.seen_as(1440, 900) as page:
        buttons = page.locator("#flows button")
        buttons.first.focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")

        expect(buttons.nth(1)).to_be_focused()
        expect(buttons.nth(1)).to_have_attribute("aria-current", "true")
        assert ["0"] == [each for each in tab_stops(page) if each != "-1"]


def test_the_documented_events_are_shown(live: Live) -> None:
    """Each topic is shown with its publisher and consumers; a command links to its replies."""
    events = live.page.locator("#events details")
    expect(events).to_have_count(len(read_topics()))
    assert list(read_topics()) == events.locator("summary strong").all_inner_texts()
    for topic, way in read_topics().items():
        who = f"{way.publisher} → {', '.join(way.consumers) or 'no consumer'}"
        expect(live.page.locator(f"#event-{topic} summary")).to_contain_text(who)

    live.page.locator("#event-OrderCreateRequested summary").click()
    expect(live.page.locator("#event-OrderCreateRequested pre")).to_contain_text('"type": "OrderCreateRequested"')
    expect(live.page.get_by_role("table", name="Fields of OrderCreateRequested")).to_contain_text("items")
    live.page.locator("#event-OrderCreateRequested").get_by_role("link", name="OrderCreateRejected").click()
    expect(live.page.get_by_role("table", name="Fields of OrderCreateRejected")).to_be_visible()


def tab_stops(page: Page) -> list[str]:
    """Return the tab index of each flow in the list."""
    found = page.locator("#flows button").evaluate_all("all => all.map(one => one.getAttribute('tabindex'))")
    return [str(each) for each in found]


def test_the_tab_key_reaches_every_control(live: Live) -> None:
    """The tab key passes every control from top to bottom, and no control traps the focus."""
    with live.seen_as(1440, 900) as page:
        controls = "a[href], button:not([tabindex='-1']):not(:disabled), input, select, summary, [tabindex='0']"
        controls_count = page.locator(f":is({controls}):visible").count()
        reached = set()
        for _ in range(controls_count + 1):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(PLACE))

    assert controls_count <= len(reached - {-1})


PLACE = "[...document.querySelectorAll('body *')].indexOf(document.activeElement)"


@pytest.mark.usefixtures("letter")
def test_the_pictures_of_the_readme_can_be_drawn(live: Live, shop: System) -> None:
    """The README's pictures come from this page; SCREENSHOTS writes them."""
    folder = os.environ.get("SCREENSHOTS")
    registered(live)
    deposited(live)
    live.page.get_by_role("button", name="Order", exact=True).click()
    ended(live, "paid, order")
    for name, width, height, scheme in (
        ("light", 1440, 1080, "light"),
        ("dark", 1440, 1080, "dark"),
        ("phone", 390, 844, "light"),
    ):
        with live.seen_as(width, height, "dark" if scheme == "dark" else "light") as page:
            page.locator("#flows button", has_text=re.compile(r"orders\s*paid")).first.click()
            page.locator("#diagram .arrow").first.wait_for()
            expect(page.locator("#panels")).not_to_contain_text("…")
            picture = framed(page, name)
            assert picture.startswith(b"\x89PNG")
            if folder is not None and shop.options.broker == next(iter(STORE_OF_BROKER)):
                Path(folder).mkdir(parents=True, exist_ok=True)
                (Path(folder) / f"{name}.png").write_bytes(picture)


def framed(page: Page, name: str) -> bytes:
    """Return a picture of the whole page, or of the visible part on a phone."""
    if name == "phone":
        page.locator("#passes").scroll_into_view_if_needed()
    return page.screenshot(full_page=name != "phone")


def test_the_page_reports_events_missed_by_a_killed_monitor(live: Live, shop: System) -> None:
    """A restarted monitor has no history: the page reports the gap and continues."""
    shop.kill("monitor")
    expect(live.page.locator("#connection")).to_contain_text("The connection is lost")
    shop.starter.start_again("monitor")

    expect(live.page.locator("#connection")).to_contain_text("the events in between are missing")
    expect(live.page.locator("#tap")).to_have_text("Watching")
    live.page.get_by_label("Show the newest").check()
    registered(live)
    assert REGISTRATION == set(live.until_arrows(len(REGISTRATION)))
    ignore(live, "ERR_")
