"""The live page answers requests that have its key, in the address or in the cookie."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest
from starlette.responses import PlainTextResponse

from sidecart.launcher.monitor import address
from sidecart.monitor.page_key import PageKey

URL = "http://127.0.0.1:8001"
KEY = "the-key"
CPU_SECONDS_MAX = 1.0
COOKIE = "sidecart-page-8001"


def response_to(url: str, cookie: str = "") -> httpx.Response:
    """The response to a GET request."""

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=PageKey(PlainTextResponse("in"), 8001, KEY))
        async with httpx.AsyncClient(transport=transport, base_url=URL) as client:
            return await client.get(url, headers={"cookie": cookie} if cookie else {})

    return asyncio.run(call())


def test_the_address_of_the_launcher_opens_the_page() -> None:
    """The browser gets the key as a cookie that scripts cannot read and other sites do not send."""
    answer = response_to(address(URL, KEY))
    cookie = answer.headers["set-cookie"]

    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert cookie.startswith(f"{COOKIE}={KEY};")
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in cookie.split(";")}
    assert 200 == response_to("/live", f"other=1; {COOKIE}={KEY}").status_code


@pytest.mark.parametrize("other", ['theme={"a":1}', "x", "a=b c", 'quoted="1', "=", ""])
def test_the_cookies_of_other_servers_do_no_harm(other: str) -> None:
    """Cookies do not differ by port, and any program can set one for this machine."""
    assert 200 == response_to("/live", f"{other}; {COOKIE}={KEY}; {other}").status_code


def test_a_long_cookie_takes_no_time() -> None:
    """The standard library unquotes such a cookie for seconds, in which the page answers no
    one.
    """
    started = time.process_time()

    assert 403 == response_to("/live", 'x="' + "\\a" * 30_000 + '"').status_code
    assert time.process_time() - started < CPU_SECONDS_MAX


@pytest.mark.parametrize("path", ["/", "/live", "/page", "/static/main.js", "/live?key=the-key"])
@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=guess", f"{COOKIE}=", f"sidecart-page-8002={KEY}", "\x7f;;="])
def test_a_request_without_the_key_is_rejected(path: str, cookie: str) -> None:
    """The key in another path does not count, so that it stands in no other address."""
    assert 403 == response_to(path, cookie).status_code


@pytest.mark.parametrize("key", ["", "guess", "the-key-", "%ff", "the-kéy"])
def test_a_wrong_key_is_rejected(key: str) -> None:
    """The response names the command that prints the address."""
    answer = response_to(f"/?key={key}")

    assert 403 == answer.status_code
    assert "./sidecart status" in answer.text


def test_the_health_check_needs_no_key() -> None:
    """The launcher asks it."""
    assert 200 == response_to("/healthz").status_code
