"""The live page in a real browser, opened through a relay that tests can cut; browser errors are
collected.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Playwright, Request, TimeoutError, expect

from sidecart.launcher import monitor
from sidecart.launcher.lifecycle.system import Options, System
from tests.full.relay import Relay
from tests.suites import STORE_OF_BROKER

SECONDS = 60
FLAGS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Scheme = Literal["light", "dark"]


def shop_with_page(broker: str, folders: pytest.TempPathFactory) -> System:
    """Return a shop with its live page on a broker and its store, to be started."""
    return System(Options(broker, STORE_OF_BROKER[broker], folder=folders.mktemp(broker), monitor=True), print)


@dataclass(frozen=True, slots=True)
class Live:
    """An open page, the relay to it, and the browser's errors."""

    page: Page
    relay: Relay
    browser: Browser
    url: str
    key: str
    complaints: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address that the launcher prints."""
        return monitor.address(self.url.rstrip("/"), self.key)

    def arrows(self) -> list[tuple[str, str, str]]:
        """Return the drawn arrows from top to bottom, as (from, to, label)."""
        found = self.page.locator("#diagram .arrow").evaluate_all(
            "all => all.map(one => [one.dataset.from, one.dataset.to, one.dataset.label])"
        )
        return [(str(one), str(other), str(label)) for one, other, label in found]

    def until_arrows(self, count: int) -> list[tuple[str, str, str]]:
        """Wait until at least this many arrows are drawn; return them."""
        self.page.wait_for_function("count => document.querySelectorAll('#diagram .arrow').length >= count", arg=count)
        return self.arrows()

    def listen(self, page: Page) -> None:
        """Collect the errors that the browser reports for this page."""

        def other_host(request: Request) -> None:
            if not request.url.startswith(self.url):
                self.complaints.append(f"requested another host: {request.url}")

        page.on("request", other_host)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda output: self.complaints.append(output.text) if output.type == "error" else None)

    @contextmanager
    def seen_as(self, width: int, height: int, scheme: Scheme = "light") -> Iterator[Page]:
        """Open the same page again with this size and color scheme."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        try:
            page = context.new_page()
            self.listen(page)
            page.goto(self.address)
            try:
                page.locator("#health table").wait_for()
            except TimeoutError as error:
                raise AssertionError(f"browser errors: {self.complaints}, page:\n{page.inner_text('body')}") from error
            yield page
        finally:
            context.close()


@contextmanager
def opened(playwright: Playwright, port: int, key: str) -> Iterator[Live]:
    """Open the page that is served on this port, with its key."""
    with Relay(port) as relay:
        # The page requires its own host name, so only the route to it leads through the relay.
        route = f"--host-resolver-rules=MAP localhost:{port} 127.0.0.1:{relay.port}"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, route])
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        live = Live(page, relay, browser, f"http://localhost:{port}/", key)
        live.listen(page)
        page.goto(live.address)
        page.locator("#tap[data-state=on]").wait_for()
        yield live
        browser.close()
