"""Attacks of web pages, in a real browser: DNS rebinding, calls from foreign pages, and scripts in
names, SKUs and events.
"""

from __future__ import annotations

import json
import shutil
import smtplib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, sync_playwright

from sidecart.edge.callers import caller_id
from sidecart.issuer import tokens
from sidecart.launcher import monitor
from sidecart.launcher.lifecycle.plan import MAIL_HTTP
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY
from sidecart.testkit.tap import Tap
from tests.e2e.attack import Eve, Victim, victim_of
from tests.e2e.conftest import options
from tests.e2e.scene import Removal, Scene
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address
from tests.e2e.test_bad_events import fresh, publish
from tests.full.live_page import FLAGS, SECONDS

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

EVIL = "evil.example"
LIKE_OTHERS = "--disable-features=LocalNetworkAccessChecks"

FETCH = """async ([url, options]) => {
  try { const answer = await fetch(url, options); return [answer.status, answer.type, await answer.text()]; }
  catch (error) { return [0, "error", String(error)]; }
}"""
SCRIPTS = (
    "<img src=x onerror=window.ran=1>",
    "<script>window.ran=1</script>",
    '"><svg onload=window.ran=1>',
    "javascript:window.ran=1",
    "{{constructor.constructor('window.ran=1')()}}",
    "</title></textarea></pre><iframe srcdoc='<script>parent.ran=1</script>'>",
)
"""Names and SKUs that run a script in a page that takes them for HTML."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with its live page."""
    made = options(tmp_path_factory.mktemp("browsed"))
    with System(replace(made, monitor=True, env={}), print) as running:
        yield running


@pytest.fixture(scope="module")
def tap(shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(shop) as running:
        yield running


@pytest.fixture
def shopper(shop: System, tap: Tap) -> Iterator[Shopper]:
    """Return a client of the shop."""
    with Shopper(shop, tap) as client:
        yield client


@pytest.fixture
def victim(shopper: Shopper) -> Iterator[Victim]:
    """Return a caller with money, an order and a mail."""
    with victim_of(shopper) as found:
        yield found


@pytest.fixture(scope="module")
def removal(shop: System) -> Removal:
    """Return the control that the shop lacks: none at first."""
    return Removal(shop)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser that finds foreign names on this machine, as after DNS rebinding.

    Chromium itself keeps insecure pages from local addresses. Not every browser does, so that is
    off here.
    """
    route = f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, route, LIKE_OTHERS])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return an empty page with cookies of its own."""
    context = browser.new_context()
    made = context.new_page()
    made.set_default_timeout(SECONDS * 1000)
    yield made
    context.close()


def scene_of(shopper: Shopper, victim: Victim, control: str, folder: Path) -> Scene:
    """Return a scene whose processes lack a control."""
    eve = Eve(victim.user_id, victim.email, {})
    return Scene(shopper, victim, eve, control, folder)


def fetched(page: Page, url: str, **sent: Any) -> tuple[int, str, str]:
    """Let the script of a page request a URL; return status, type and body."""
    status, kind, body = page.evaluate(FETCH, [url, sent])
    return int(status), str(kind), str(body)


# --- DNS rebinding


def rebound(page: Page, port: int, path: str) -> tuple[int, str, str]:
    """Read a path as a script of a page of evil.example, whose name now resolves to this
    machine.
    """
    at_start(page, f"http://{EVIL}:{port}")
    return fetched(page, path)


def at_start(page: Page, origin: str) -> None:
    """Open the attacker's document of an origin: it came from the attacker's server before its name
    changed.
    """
    page.route(f"{origin}/start", lambda route: route.fulfill(content_type="text/html", body="<title>win</title>"))
    page.goto(f"{origin}/start")


def test_the_browser_itself_allows_dns_rebinding(page: Page, shop: System) -> None:
    """The same script reads everything at the right name, so only the check of the name refuses."""
    at_start(page, f"http://localhost:{shop.ports[MAIL_HTTP]}")

    assert 200 == fetched(page, "/mails")[0]


@pytest.mark.attack("browser", "DNS rebinding of gateway, live page, mails in Chromium", "host check")
@pytest.mark.parametrize(
    ("name", "path"),
    [
        (GATEWAY, "/products"),
        (GATEWAY, "/docs"),
        (monitor.NAME, "/page"),
        (monitor.NAME, "/live"),
        (MAIL_HTTP, "/mails"),
    ],
)
def test_a_rebound_page_reads_nothing(
    page: Page, removal: Removal, shop: System, victim: Victim, name: str, path: str
) -> None:
    """The script is of the same origin for the browser, which therefore protects nothing."""
    removal.put_back()
    status, kind, body = rebound(page, shop.ports[name], path)

    assert (status, kind) in ((421, "basic"), (403, "basic"))
    assert victim.email not in body
    assert "sku" not in body


@pytest.mark.mutant("browser", "DNS rebinding of gateway, live page, mails in Chromium", "host check")
def test_without_the_host_check_a_rebound_page_reads_the_gateway(page: Page, removal: Removal, shop: System) -> None:
    """And so it could order, if it had a token."""
    removal.take_out(GATEWAY, "host-check")
    try:
        assert 200 == rebound(page, shop.ports[GATEWAY], "/products")[0]
    finally:
        removal.put_back()


@pytest.mark.mutant("browser", "DNS rebinding of the mails in Chromium", "host check of the mail catcher")
def test_without_the_host_check_a_rebound_page_reads_all_mails(
    page: Page, shopper: Shopper, victim: Victim, tmp_path: Path
) -> None:
    """A mail catcher of its own."""
    with scene_of(shopper, victim, "host-check-of-the-mail-catcher", tmp_path).mail_catcher() as (url, _):
        assert (200, "[]") == rebound(page, int(url.rpartition(":")[2]), "/mails")[::2]


# --- Foreign pages


class _Evil(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Answer with an empty page."""
        content = b"<!doctype html><title>win</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def evil() -> Iterator[int]:
    """Start the attacker's web server; return its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Evil) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.attack("browser", "call the gateway from a foreign page in Chromium", "origin check of the gateway")
@pytest.mark.parametrize("host", [EVIL, "localhost"])
@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_foreign_page_neither_reads_nor_orders(
    page: Page, removal: Removal, shopper: Shopper, victim: Victim, evil: int, host: str, mode: str
) -> None:
    """By fetch with and without CORS, even with the token of the victim: no order is placed."""
    removal.put_back()
    page.goto(f"http://{host}:{evil}/")
    base = shopper.shop.url.replace("127.0.0.1", "localhost")
    token = shopper.caller(victim.email)
    balance = shopper.balance(victim.user_id)
    reads = [fetched(page, f"{base}{path}", mode=mode) for path in ("/products", f"/order/{victim.order_id}")]
    body = json.dumps({"items": [TEA]})
    reads += [
        fetched(page, f"{base}/order/create", mode=mode, method="POST", body=body, headers=headers)
        for headers in ({"content-type": "text/plain"}, {"content-type": "application/json", **token})
    ]

    for status, kind, content in reads:
        assert (status, kind) in ((0, "error"), (0, "opaque"))
        assert "sku" not in content
    shopper.until_prompt()
    assert balance == shopper.balance(victim.user_id)


@pytest.mark.mutant("browser", "call the gateway from a foreign page in Chromium", "origin check of the gateway")
def test_without_the_origin_check_a_page_reaches_the_gateway(
    page: Page, removal: Removal, shopper: Shopper, evil: int
) -> None:
    """A form of a foreign page gets the answer of the API in place of 403; the token is the next
    control.
    """
    removal.take_out(GATEWAY, "origin-check-of-the-gateway")
    try:
        assert 401 == submitted(page, evil, f"{shopper.shop.url}/order/create")
    finally:
        removal.put_back()
    assert 403 == submitted(page, evil, f"{shopper.shop.url}/order/create")


def submitted(page: Page, evil: int, url: str) -> int:
    """Submit a form of a foreign page; return the status of the answer."""
    page.goto(f"http://{EVIL}:{evil}/")
    with page.expect_response(url) as found:
        page.evaluate(
            """url => { const form = document.createElement("form");
            form.method = "post"; form.enctype = "text/plain"; form.action = url;
            document.body.append(form); form.submit(); }""",
            url,
        )
    return found.value.status


def registers_by(page: Page, host: str, evil: int, target: str) -> str:
    """Register a user from a page of another port, with the cookie of the live page; return
    the id.
    """
    address = new_address()
    page.goto(f"http://{host}:{evil}/")
    fetched(
        *(page, f"{target}/api/user/register"),
        mode="no-cors",
        method="POST",
        credentials="include",
        body=json.dumps({"email": address, "name": "Eve"}),
    )
    return caller_id(tokens.ISSUER, tokens.subject_of(address))


@pytest.mark.attack("browser", "use the live page from a foreign page in Chromium", "host and origin of the live page")
@pytest.mark.parametrize("host", [EVIL, "localhost", "127.0.0.1"])
def test_a_foreign_page_cannot_use_the_live_page(
    page: Page, removal: Removal, shopper: Shopper, evil: int, host: str
) -> None:
    """Even a page of another port of the same host, to which the browser sends the cookie."""
    removal.put_back()
    shop = shopper.shop
    target = f"http://localhost:{shop.ports[monitor.NAME]}"
    page.goto(monitor.address(target, shop.plan.page_key))
    user_id = registers_by(page, host, evil, target)
    for path in ("/page", "/live", f"/api/user/{user_id}"):
        assert 0 == fetched(page, f"{target}{path}", credentials="include")[0]
        assert 0 == fetched(page, f"{target}{path}", credentials="include", mode="no-cors")[0]
    is_refused = page.evaluate(
        """url => new Promise(done => { const events = new EventSource(url, {withCredentials: true});
        events.onopen = () => done(false); events.onerror = () => done(true); })""",
        f"{target}/live",
    )

    assert is_refused
    shopper.until_prompt()
    assert 404 == shopper.http.get(f"/user/{user_id}").status_code


@pytest.mark.mutant("browser", "use the live page from a foreign page in Chromium", "host and origin of the live page")
def test_without_its_origin_check_the_live_page_acts_for_a_foreign_page(
    page: Page, shopper: Shopper, victim: Victim, evil: int, tmp_path: Path
) -> None:
    """The cookie alone does not protect from a page of another port."""
    with scene_of(shopper, victim, "host-and-origin-of-the-live-page", tmp_path).page() as client:
        target = str(client.base_url).rstrip("/").replace("127.0.0.1", "localhost")
        page.goto(monitor.address(target, shopper.shop.plan.page_key))
        user_id = registers_by(page, "localhost", evil, target)
        shopper.until(lambda: shopper.http.get(f"/user/{user_id}").status_code == 200, "the user of the foreign page")


# --- Scripts


def watched(page: Page) -> list[str]:
    """Collect what shows that a text was taken for a script."""
    found: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        found.append(dialog.message)
        dialog.dismiss()

    def note(line: ConsoleMessage) -> None:
        if "Content Security Policy" in line.text:
            found.append(line.text)

    page.on("dialog", dismiss)
    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def with_scripts(shopper: Shopper) -> None:
    """Send scripts in names, SKUs, events and dead letters, while the page is open."""
    letters: list[str] = []
    for script in SCRIPTS:
        user_id = shopper.register(script)["user_id"]
        items = [TEA | {"sku": script}]
        order = {"user_id": user_id, "order_id": str(uuid.uuid4()), "items": items, "amount_cents": TEA_CENTS}
        publish(shopper, fresh("OrderCreated", **order) | {"subject": order["order_id"]})
        publish(shopper, fresh("OrderPaid", **order) | {"subject": order["order_id"]})
        letter = fresh("OrderPaid", **order) | {"source": script, "subject": script, "x": script}
        publish(shopper, letter)
        letters.append(f"dead:{letter['id']}")
        shopper.order(user_id)
    shopper.until(lambda: all(shopper.state("notification", each).status_code == 200 for each in letters), "letters")


@pytest.mark.attack("browser", "scripts in names, SKUs, events, dead letters (XSS)", "content policy")
def test_no_text_is_a_script_of_the_live_page(page: Page, removal: Removal, shopper: Shopper) -> None:
    """The page shows the texts; it runs none of them, and its content policy has nothing to
    stop.
    """
    removal.put_back()
    found, shop = watched(page), shopper.shop
    page.goto(monitor.address(f"http://localhost:{shop.ports[monitor.NAME]}", shop.plan.page_key))
    page.locator("#tap[data-state=on]").wait_for()
    with_scripts(shopper)
    page.locator("#dead-letters", has_text=SCRIPTS[-1][:20]).first.wait_for()
    for button in page.locator("#flows button").all()[:10]:
        button.click()
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")

    assert page.evaluate("() => window.ran") is None
    assert [] == found
    assert 0 == page.locator("iframe, svg[onload], img[src=x]").count()


@pytest.mark.attack("browser", "scripts in mails (XSS)", "text of mails")
def test_no_text_is_a_script_of_a_mail(page: Page, shopper: Shopper) -> None:
    """The mail catcher shows the mails; also one that is nothing but scripts runs none."""
    found, url = watched(page), shopper.shop.mail_url
    with_scripts(shopper)
    newest = httpx.get(f"{url}/mails", trust_env=False).json()[-len(SCRIPTS) :]
    page.goto(url.replace("127.0.0.1", "localhost"))
    for mail in newest:
        page.goto(f"{url}/mails/{mail['id']}/html")
        assert page.evaluate("() => window.ran") is None

    assert [] == found


def mail_runs(page: Page, scene: Scene) -> bool:
    """Show a mail that is nothing but a script; return whether it ran."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "eve@example.com", "ann@example.com", "win"
    mail.set_content("<script>window.ran = 1</script>", subtype="html")
    with scene.mail_catcher() as (url, port), smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.send_message(mail)
        [found] = httpx.get(f"{url}/mails", trust_env=False).json()
        page.goto(f"{url}/mails/{found['id']}/html")
        return bool(page.evaluate("() => window.ran === 1"))


@pytest.mark.attack("browser", "a script in a mail of another sender", "content policy of the mail catcher")
def test_a_mail_runs_no_script(page: Page, shopper: Shopper, victim: Victim, tmp_path: Path) -> None:
    """Also without the templates of the shop."""
    assert not mail_runs(page, scene_of(shopper, victim, "nothing", tmp_path))


@pytest.mark.mutant("browser", "a script in a mail of another sender", "content policy of the mail catcher")
def test_without_the_content_policy_a_mail_runs_a_script(
    page: Page, shopper: Shopper, victim: Victim, tmp_path: Path
) -> None:
    """A mail catcher of its own."""
    assert mail_runs(page, scene_of(shopper, victim, "content-policy-of-the-mail-catcher", tmp_path))


def runs_inline(page: Page) -> bool:
    """Add an inline script to a page, as a fault of the page would; return whether it ran."""
    return bool(
        page.evaluate(
            """() => { const script = document.createElement("script"); script.textContent = "window.ran = 1";
            document.body.append(script); return window.ran === 1; }"""
        )
    )


@pytest.mark.attack("browser", "an inline script that a fault let through", "content policy")
def test_the_content_policy_stops_inline_scripts(page: Page, shop: System) -> None:
    """The second line of defense."""
    page.goto(monitor.address(f"http://localhost:{shop.ports[monitor.NAME]}", shop.plan.page_key))

    assert not runs_inline(page)


@pytest.mark.mutant("browser", "an inline script that a fault let through", "content policy")
def test_without_the_content_policy_an_inline_script_runs(
    page: Page, shopper: Shopper, victim: Victim, tmp_path: Path
) -> None:
    """A live page of its own."""
    with scene_of(shopper, victim, "content-policy", tmp_path).page() as client:
        page.goto(monitor.address(str(client.base_url).rstrip("/"), shopper.shop.plan.page_key))
        assert runs_inline(page)
