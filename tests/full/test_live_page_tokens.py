"""The live page in a real browser with another token issuer, and without tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from playwright.sync_api import expect, sync_playwright

from sidecart.chassis.settings import LOOPBACK
from sidecart.edge.callers import OPERATOR
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.ports import free_port
from sidecart.monitor.origin_check import SECURITY
from sidecart.monitor.page import NO_FORMS
from tests.e2e.other_issuer import OtherIssuer
from tests.e2e.test_page_tokens import dead_letter
from tests.full.live_page import Live, opened

# Its cause remains: the service may have rejected the event before the page reports the outcome.
REPLAYED = re.compile("OrderPaymentCreated of order: failed again")


@contextmanager
def shown(folder: Path, settings: dict[str, str]) -> Iterator[tuple[System, Live]]:
    """Start a shop with these settings, and open its live page."""
    with (
        System(Options("redis", "redis", folder=folder, monitor=True, settings=settings), print) as shop,
        sync_playwright() as playwright,
        opened(playwright, shop.ports["monitor"], shop.plan.page_key) as live,
    ):
        yield shop, live


def replay(live: Live, letter_id: str) -> None:
    """Press the button of a dead letter, and confirm."""
    live.page.get_by_role("button", name=letter_id).first.click()
    live.page.locator("#confirm-yes").click()


def sign_in(live: Live, token: str) -> None:
    """Act by a token."""
    live.page.get_by_label("Access token of an operator").fill(token)
    live.page.get_by_role("button", name="Sign in").click()


def test_with_another_issuer_an_operator_signs_in(tmp_path: Path) -> None:
    """The forms are off and the page says why, as it does for mails of another mail server. It
    shows no dead letter before the sign-in, to a user, or after the sign-out.
    """
    smtp = Controller(Sink(), hostname=LOOPBACK, port=free_port())
    smtp.start()
    settings = {"SMTP_URL": f"smtp://{LOOPBACK}:{smtp.port}", "MAIL_FROM": "me@my.shop"}
    with OtherIssuer() as issuer, shown(tmp_path, issuer.settings | settings) as (shop, live):
        page, result = live.page, live.page.locator("#dead-letters .result")
        expect(page.locator("#try")).to_contain_text(NO_FORMS)
        expect(page.locator("#try form")).to_have_count(0)
        expect(page.locator("#panels")).to_be_hidden()
        expect(page.locator("#mailbox")).to_contain_text("a mail server that this page cannot read")
        letter_id = dead_letter(shop)
        expect(page.locator("#dead-letters .count")).to_have_text("(1)")
        expect(page.locator("#dead-letters .groups")).to_have_text("Sign in as an operator to see the dead letters.")
        expect(page.locator("#audit .scroll")).to_be_empty()
        assert [] == live.complaints

        for token, status in (
            ("no token", "401"),
            (issuer.token("ann@example.com"), "403 Forbidden: only an operator"),
        ):
            sign_in(live, token)
            expect(page.locator("#sign-in output")).to_contain_text(status)
            expect(page.get_by_role("button", name=letter_id)).to_have_count(0)
        sign_in(live, issuer.token("boss@example.com", roles=(OPERATOR,)))
        expect(page.locator("#operator .who")).to_contain_text("boss@example.com")
        replay(live, letter_id)
        expect(result).to_have_text(REPLAYED)
        expect(page.locator("#audit tbody tr").first).to_contain_text("boss@example.com")

        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#dead-letters .groups")).to_have_text("Sign in as an operator to see the dead letters.")
        expect(page.get_by_role("button", name=letter_id)).to_have_count(0)
        expect(page.locator("#audit .scroll")).to_be_empty()
        expect(page.get_by_label("Access token of an operator")).to_be_visible()
    smtp.stop()


def test_without_tokens_every_part_of_the_page_works(tmp_path: Path) -> None:
    """A user registers, pays money in and orders; the key of the page replays a dead letter."""
    with shown(tmp_path, {"AUTH": "off"}) as (shop, live):
        page, output = live.page, live.page.locator("#order-create output")
        expect(page.locator("#panels")).to_contain_text("since this page was opened")
        expect(page.locator("#passes")).to_contain_text("since this page was opened")
        page.get_by_label("E-mail").fill("ann@example.com")
        page.get_by_role("button", name="Register", exact=True).click()
        expect(page.locator("#order-create select option:checked")).to_contain_text("ann@example.com")
        page.get_by_role("button", name="Deposit", exact=True).click()
        expect(page.locator("#account-deposit output")).to_contain_text("201 Created")
        page.get_by_role("button", name="Order", exact=True).click()
        expect(output).to_have_text("201 Created")
        expect(page.locator("#panels tr", has_text="ann@example.com")).to_contain_text("91.00")
        page.locator("#read [name=user_id]").wait_for()
        page.locator("#read").get_by_role("button", name="Read").click()
        expect(page.locator("#read pre")).to_contain_text("ann@example.com")

        replay(live, dead_letter(shop))
        expect(page.locator("#dead-letters .result")).to_have_text(REPLAYED)
        flow = page.locator("#flows button", has_text="OrderPaymentCreated, earlier events not seen")
        expect(flow).to_contain_text("1 dead letter")
        flow.click()
        expect(page.locator("#timeline li")).to_contain_text("a dead letter")
        assert [] == live.complaints


def test_the_policy_of_the_page_allows_no_inline_code() -> None:
    """Each source is the page itself: no inline code, no eval, no other host."""
    policy = SECURITY["content-security-policy"]

    assert "default-src 'self'" in policy
    assert not {word for word in policy.replace(";", " ").split() if word.startswith("'")} - {"'self'", "'none'"}
