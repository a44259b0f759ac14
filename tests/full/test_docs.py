"""The API documentation page in a real browser that can reach this machine only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

from gateway.commands import COMMANDS, ERASURES
from gateway.queries import EXPORTS, QUERIES
from sidecart.launcher.lifecycle.system import Options, System
from tests.full.live_page import FLAGS, SECONDS

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop."""
    with System(Options("redis", folder=tmp_path_factory.mktemp("docs")), print) as running:
        yield running


def test_the_page_shows_every_operation_and_requests_no_other_host(shop: System) -> None:
    """The page offers calls to try, and the browser reports no error."""
    requested: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, OFFLINE])
        page = browser.new_page()
        page.set_default_timeout(SECONDS * 1000)
        page.on("request", lambda request: requested.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda output: complaints.append(output.text) if output.type == "error" else None)
        page.goto(f"{shop.url}/docs")
        shown = page.locator(".opblock")
        expect(shown).to_have_count(len((*COMMANDS, *QUERIES, *ERASURES, *EXPORTS)) + 2, timeout=SECONDS * 1000)
        paths = set(page.locator(".opblock-summary-path").evaluate_all("all => all.map(one => one.dataset.path)"))

        ready = shown.filter(has=page.locator('[data-path="/readyz"]'))
        ready.locator(".opblock-summary-control").click()
        ready.get_by_role("button", name="Try it out").click()
        ready.get_by_role("button", name="Execute").click()
        expect(ready.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
        browser.close()

    assert {*(each.path for each in (*COMMANDS, *QUERIES, *EXPORTS)), "/healthz", "/readyz"} == paths
    assert {urlsplit(shop.url).netloc} == {urlsplit(url).netloc for url in requested if not url.startswith("data:")}
    assert [] == complaints
