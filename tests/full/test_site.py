"""The site that `make docs` serves, in a real browser: on a desktop and on a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from tests.full.live_page import FLAGS, SECONDS
from tests.full.project_copy import MAKE_ENDS, copied, foreground, shell_environment, wait_for_line

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
PHONE_PIXELS, DESKTOP_PIXELS = (390, 844), (1280, 900)
# not the history: no reader opens all decisions on a phone
PAGES = sorted(
    str(page.relative_to(root() / "docs").with_suffix(".html"))
    for page in (root() / "docs").rglob("*.md")
    if page.parent.name != "adr"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the site; return its address."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    copy, log = copied(folder / "copy"), folder / "log"
    env = os.environ | shell_environment(copy) | {"DOCS_PORT": str(port)}
    with foreground(copy, "make docs", log, env=env, ends=MAKE_ENDS) as process:
        wait_for_line(process, log, "The documentation is at")
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser that reaches this machine only."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS, OFFLINE])
        yield running
        running.close()


def test_every_page_fits_on_a_phone(site: str, browser: Browser) -> None:
    """A page scrolls down only; wide tables and code scroll within themselves."""
    width, height = PHONE_PIXELS
    page = browser.new_page(viewport={"width": width, "height": height})
    wide = {}
    for path in PAGES:
        page.goto(f"{site}/{path}")
        pixels = int(page.evaluate("document.documentElement.scrollWidth"))
        if pixels > width:
            wide[path] = pixels

    assert {} == wide


def test_the_search_finds_a_page_and_the_site_requests_no_other_host(site: str, browser: Browser) -> None:
    """A word of a tutorial leads to the tutorial."""
    width, height = DESKTOP_PIXELS
    page = browser.new_page(viewport={"width": width, "height": height})
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(site)
    page.get_by_placeholder("Search").first.fill("discount code")
    page.get_by_placeholder("Search").first.press("Enter")

    expect(page.get_by_role("link", name="Your first change: a discount code").first).to_be_visible(
        timeout=SECONDS * 1000
    )
    assert [] == [url for url in requested if not url.startswith((site, "data:"))]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_site_follows_the_color_scheme(site: str, browser: Browser, scheme: str) -> None:
    """A dark system gets a dark page."""
    page = browser.new_page(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two literals
    page.goto(site)
    red, green, blue = page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )

    assert (scheme == "dark") == (red + green + blue < 3 * 128)
