"""The live page in a real browser: opened through a relay, with every complaint of the browser's kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from playwright.sync_api import Browser, Page, Playwright, Request, TimeoutError, expect

from tests.full.relay import Relay

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


@dataclass(frozen=True, slots=True)
class Live:
    """A page that is open, the cable to it, and what went wrong in it."""

    page: Page
    relay: Relay
    browser: Browser
    url: str
    complaints: list[str] = field(default_factory=list)

    def arrows(self) -> list[tuple[str, str, str]]:
        """What is drawn: from, to, label, from top to bottom."""
        found = self.page.locator("#diagram .arrow").evaluate_all(
            "all => all.map(one => [one.dataset.from, one.dataset.to, one.dataset.label])"
        )
        return [(str(one), str(other), str(label)) for one, other, label in found]

    def until_arrows(self, count: int) -> list[tuple[str, str, str]]:
        """Wait until so many are drawn."""
        self.page.wait_for_function("count => document.querySelectorAll('#diagram .arrow').length >= count", arg=count)
        return self.arrows()

    def listen(self, page: Page) -> None:
        """Write down what the browser complains of in this page."""

        def other_host(request: Request) -> None:
            if not request.url.startswith(self.url):
                self.complaints.append(f"asked another host: {request.url}")

        page.on("request", other_host)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda output: self.complaints.append(output.text) if output.type == "error" else None)

    @contextmanager
    def seen_as(self, width: int, height: int, scheme: Scheme = "light") -> Iterator[Page]:
        """The same page once more, as wide as this, in these colours."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
        )
        try:
            page = context.new_page()
            self.listen(page)
            page.goto(self.url)
            try:
                page.locator("#health table").wait_for()
            except TimeoutError as error:
                raise AssertionError(
                    f"the browser says {self.complaints}, the page:\n{page.inner_text('body')}"
                ) from error
            yield page
        finally:
            context.close()


@contextmanager
def opened(playwright: Playwright, port: int) -> Iterator[Live]:
    """Open the page that is served on this port; at the end the browser must have had nothing to complain of."""
    with Relay(port) as relay:
        # The page keeps its own name, which it insists on; only the way to it leads through the relay.
        way = f"--host-resolver-rules=MAP localhost:{port} 127.0.0.1:{relay.port}"
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, way])
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        page = context.new_page()
        page.set_default_timeout(SECONDS * 1000)
        expect.set_options(timeout=SECONDS * 1000)
        live = Live(page, relay, browser, f"http://localhost:{port}/")
        live.listen(page)
        page.goto(live.url)
        page.locator("#tap[data-state=on]").wait_for()
        yield live
        browser.close()
