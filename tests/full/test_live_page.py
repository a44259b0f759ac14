"""The live page as a person uses it, in a real browser, on each broker.

SCREENSHOTS=docs/screenshots writes the pictures of the README anew.
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

from cli.checks import STORE_OF_BROKER
from cli.shop import Options, Shop
from cli.topics import TOPICS
from tests.e2e.shopper import TEA
from tests.full.live_page import SECONDS, Live, opened

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
# What every order has, however it ends.
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
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with its live page, on each broker."""
    broker = str(request.param)
    folder = tmp_path_factory.mktemp(broker)
    with Shop(Options(broker, STORE_OF_BROKER[broker], folder=folder, monitor=True), print) as running:
        yield running


@pytest.fixture(scope="module")
def browser_and_page(shop: Shop) -> Iterator[Live]:
    """The page, open all the time: each test finds what the ones before it left."""
    with sync_playwright() as playwright, opened(playwright, shop.ports["monitor"]) as live:
        yield live


@pytest.fixture
def live(browser_and_page: Live) -> Iterator[Live]:
    """The page; a test in which the browser complains has failed."""
    browser_and_page.complaints.clear()
    yield browser_and_page
    assert [] == browser_and_page.complaints


def answer_of(live: Live, form: str) -> Locator:
    """Where the answer to a form is shown."""
    return live.page.locator(f"#{form} output")


def registered(live: Live) -> str:
    """Somebody new, registered by the form and chosen in the others; the address."""
    email = f"ann.{uuid.uuid4().hex[:8]}@example.com"  # short enough to be read in a picture
    live.page.get_by_label("E-mail").fill(email)
    live.page.get_by_label("E-mail").press("Enter")
    expect(live.page.locator("#order select option:checked")).to_contain_text(email)
    return email


def newest_flow(live: Live, title: str) -> None:
    """Show the newest flow of this title."""
    live.page.locator("#flows button", has_text=title).first.click()


def ended(live: Live, outcome: str) -> None:
    """Wait until the flow that is shown has ended so."""
    expect(live.page.locator("#flow-outcome")).to_contain_text(outcome)


def user_id_of(live: Live) -> str:
    """Who is chosen for orders."""
    return live.page.locator("#order select").input_value()


def excuse(live: Live, what: str) -> None:
    """The browser notes each answer that is an error, and each connection that it loses; these were meant."""
    live.complaints[:] = [each for each in live.complaints if what not in each]


def test_each_arrow_of_the_diagram_is_drawn_and_both_mails_come(live: Live) -> None:
    """Register, pay in, an order that can be paid, one that cannot: by the forms, as a person would."""
    email = registered(live)
    arrows = live.until_arrows(len(REGISTRATION))
    assert REGISTRATION == set(arrows)

    live.page.get_by_label("Amount").fill("100")
    live.page.get_by_role("button", name="Deposit", exact=True).click()
    expect(answer_of(live, "deposit")).to_have_text("201 Created; balance 100.00")
    ended(live, "deposited")
    arrows = live.until_arrows(len(DEPOSIT))
    assert DEPOSIT == set(arrows)

    live.page.get_by_role("button", name="Order", exact=True).click()
    expect(answer_of(live, "order")).to_have_text("201 Created")
    ended(live, "paid, order")
    arrows = live.until_arrows(len(CALL | EVENTS | GOOD))
    assert CALL | EVENTS | GOOD == set(arrows)
    assert arrows.index((GATEWAY, BROKER, "OrderCreateRequested")) < arrows.index((ORDER, BROKER, "OrderPaid"))
    assert ("User", GATEWAY, "POST /order/create") == arrows[0]

    live.page.get_by_role("button", name="Order more than the account holds").click()
    ended(live, "not paid, order")
    arrows = live.until_arrows(len(CALL | EVENTS | BAD))
    assert CALL | EVENTS | BAD == set(arrows)
    timeline = live.page.locator("#timeline li")
    expect(timeline.filter(has_text="OrderPaymentFailed")).to_contain_text("insufficient funds")

    mails = live.page.locator("#mailbox details", has_text=email)
    expect(mails.filter(has_text="could not be paid")).to_have_count(1)
    expect(mails).to_have_count(2)
    expect(live.page.locator("#accounts tr", has_text=email)).to_contain_text("91.00")


def hold(_route: Route) -> None:
    """Do not answer."""


def test_a_balance_is_not_guessed_before_it_was_read(live: Live) -> None:
    """A page that was just opened does not know yet, and does not say that there is no account."""
    account = live.page.locator("#accounts tr", has_text=registered(live))
    expect(account).to_contain_text("0.00")
    live.page.route("**/api/account/**", hold)
    with live.page.expect_request("**/api/account/**"):
        live.page.reload()

    expect(account).to_contain_text("…")
    live.page.unroute("**/api/account/**")  # those that are held are let go with it
    expect(account).to_contain_text("0.00")


def test_what_the_shop_refuses_is_shown_as_what_it_is(live: Live) -> None:
    """The status, and what is wrong with which field."""
    live.page.get_by_label("E-mail").fill("nobody")
    live.page.get_by_role("button", name="Register", exact=True).click()
    expect(answer_of(live, "register")).to_contain_text("422 Unprocessable")
    expect(answer_of(live, "register")).to_contain_text("email")
    newest_flow(live, "registers")
    ended(live, "rejected: 422")
    live.page.get_by_label("Show the newest").check()
    excuse(live, "status of 422")


def test_a_connection_that_was_lost_has_missed_nothing(live: Live, shop: Shop) -> None:
    """It is said at once; what passes meanwhile is there when the connection is back, each arrow of it."""
    registered(live)
    user_id = user_id_of(live)
    live.relay.cut()
    expect(live.page.locator("#connection")).to_contain_text("The connection is lost")
    body = {"user_id": user_id, "items": [TEA]}
    order = httpx.post(f"{shop.url}/order/create", json=body, timeout=SECONDS, trust_env=False).json()
    live.relay.mend()

    expect(live.page.locator("#connection")).to_contain_text("Nothing was missed")
    ended(live, f"not paid, order {order['order_id']}")
    assert EVENTS | BAD == set(live.until_arrows(len(EVENTS | BAD)))
    excuse(live, "ERR_")


def test_a_dead_letter_is_replayed_by_keyboard(live: Live, shop: Shop) -> None:
    """Its reason gone, it is published again: the mail comes, and the letter is off the list."""
    email, order_id = registered(live), str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "type": "EmailRequested",
        "source": "test",
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


def call_sidecar(shop: Shop, name: str, path: str, body: object) -> None:
    """POST to a service's own sidecar."""
    kind = "application/cloudevents+json" if path.startswith("publish") else "application/json"
    headers = {"dapr-api-token": shop.tokens["DAPR_API_TOKEN"], "content-type": kind}
    url = f"http://127.0.0.1:{shop.sidecar_port(name)}/v1.0/{path}"
    httpx.post(url, content=json.dumps(body), headers=headers, trust_env=False).raise_for_status()


def test_a_service_that_is_unreachable_is_shown(live: Live, shop: Shop) -> None:
    """In words and not by its colour alone; what waits for it is counted."""
    row = live.page.locator("#health tr", has_text="billing")
    expect(row).to_contain_text("ready")
    registered(live)
    shop.kill("billing")
    body = {"user_id": user_id_of(live), "items": [TEA]}
    httpx.post(f"{shop.url}/order/create", json=body, timeout=SECONDS, trust_env=False)

    expect(row).to_contain_text("no answer")
    ended(live, "payment pending")
    shop.start_again("billing")
    ended(live, "not paid")
    expect(row).to_contain_text("ready")
    excuse(live, "status of 503")


@pytest.fixture(scope="module")
def letter(shop: Shop) -> None:
    """A dead letter that stays: the payment of an order that nobody placed."""
    made = str(uuid.uuid4())
    event = {
        "specversion": "1.0",
        "id": made,
        "type": "OrderPaymentCreated",
        "source": "test",
        "subject": made,
        "correlationid": made,
        "datacontenttype": "application/json",
        "data": {"order_id": made, "user_id": made, "payment_id": made},
    }
    call_sidecar(shop, "order", "publish/pubsub/OrderPaymentCreated", event)


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light"), (320, "dark")])
def test_axe_finds_nothing_serious(live: Live, width: int, scheme: str) -> None:
    """With everything on the page filled, and nothing wider than the page."""
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


def test_the_flows_are_walked_through_by_arrow_keys(live: Live) -> None:
    """One stop for the tab key, however many there are."""
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
    """Each topic with who sends it and who receives it; a held call leads to its replies."""
    events = live.page.locator("#events details")
    expect(events).to_have_count(len(TOPICS))
    assert list(TOPICS) == events.locator("summary strong").all_inner_texts()
    for topic, way in TOPICS.items():
        who = f"{way.publisher} → {', '.join(way.consumers) or 'no consumer'}"
        expect(live.page.locator(f"#event-{topic} summary")).to_contain_text(who)

    live.page.locator("#event-OrderCreateRequested summary").click()
    expect(live.page.locator("#event-OrderCreateRequested pre")).to_contain_text('"type": "OrderCreateRequested"')
    expect(live.page.get_by_role("table", name="Fields of OrderCreateRequested")).to_contain_text("items")
    live.page.locator("#event-OrderCreateRequested").get_by_role("link", name="OrderCreateRejected").click()
    expect(live.page.get_by_role("table", name="Fields of OrderCreateRejected")).to_be_visible()


def tab_stops(page: Page) -> list[str]:
    """The tab index of each flow in the list."""
    found = page.locator("#flows button").evaluate_all("all => all.map(one => one.getAttribute('tabindex'))")
    return [str(each) for each in found]


def test_everything_is_reached_by_the_tab_key(live: Live) -> None:
    """From the top to the bottom and out again: nothing holds the focus, and no control is left out."""
    with live.seen_as(1440, 900) as page:
        controls = "a[href], button:not([tabindex='-1']):not(:disabled), input, select, summary, [tabindex='0']"
        wanted = page.locator(f":is({controls}):visible").count()
        reached = set()
        for _ in range(wanted + 1):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(PLACE))

    assert wanted <= len(reached - {-1})


PLACE = "[...document.querySelectorAll('body *')].indexOf(document.activeElement)"


@pytest.mark.usefixtures("letter")
def test_the_pictures_of_the_readme(live: Live, shop: Shop) -> None:
    """What the README shows is drawn from this very page; written only when asked for."""
    folder = os.environ.get("SCREENSHOTS")
    for name, width, height, scheme in (
        ("light", 1440, 1080, "light"),
        ("dark", 1440, 1080, "dark"),
        ("phone", 390, 844, "light"),
    ):
        with live.seen_as(width, height, "dark" if scheme == "dark" else "light") as page:
            page.locator("#flows button", has_text=re.compile(r"orders\s*paid")).first.click()
            page.locator("#diagram .arrow").first.wait_for()
            expect(page.locator("#accounts")).not_to_contain_text("…")
            picture = framed(page, name)
            assert picture.startswith(b"\x89PNG")
            if folder is not None and shop.options.broker == next(iter(STORE_OF_BROKER)):
                Path(folder).mkdir(parents=True, exist_ok=True)
                (Path(folder) / f"{name}.png").write_bytes(picture)


def framed(page: Page, name: str) -> bytes:
    """The whole of a wide page; of a phone what it shows at once."""
    if name == "phone":
        page.locator("#passes").scroll_into_view_if_needed()
    return page.screenshot(full_page=name != "phone")


def test_a_page_that_was_unreachable_for_too_long_is_told_so(live: Live, shop: Shop) -> None:
    """A monitor that was killed remembers nothing: the page says that it missed something, and goes on."""
    shop.kill("monitor")
    expect(live.page.locator("#connection")).to_contain_text("The connection is lost")
    shop.start_again("monitor")

    expect(live.page.locator("#connection")).to_contain_text("the events in between are missing")
    expect(live.page.locator("#tap")).to_have_text("Watching")
    live.page.get_by_label("Show the newest").check()
    registered(live)
    assert REGISTRATION == set(live.until_arrows(len(REGISTRATION)))
    excuse(live, "ERR_")
