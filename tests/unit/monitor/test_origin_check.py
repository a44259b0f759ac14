"""Who may call: pages of this address only."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from monitor.origin_check import OriginCheck

PORT = 8001
SAME_ORIGIN = f"http://127.0.0.1:{PORT}"


def asked(method: str, headers: dict[str, str], path: str = "/") -> httpx.Response:
    """What a caller gets."""

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=OriginCheck(PlainTextResponse("in"), PORT))
        async with httpx.AsyncClient(transport=transport, base_url=SAME_ORIGIN) as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(call())


def test_our_own_page_gets_in() -> None:
    """By either name of this machine."""
    names = (f"127.0.0.1:{PORT}", f"localhost:{PORT}")

    assert [200, 200] == [asked("GET", {"host": name}).status_code for name in names]
    assert [200, 200] == [asked("POST", {"host": name, "origin": f"http://{name}"}).status_code for name in names]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:80"])
def test_a_page_of_somebody_else_changes_nothing(origin: str) -> None:
    """Its browser says where it is from."""
    assert 403 == asked("POST", {"origin": origin}).status_code


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_somebody_else_opens_no_tap(site: str) -> None:
    """It may lead here, as any link; to look, or to ask, is for our own page, and for programs."""
    assert 200 == asked("GET", {"sec-fetch-site": site}, "/").status_code
    assert 403 == asked("GET", {"sec-fetch-site": site}, "/live").status_code
    assert 200 == asked("GET", {"sec-fetch-site": "same-origin"}, "/live").status_code
    assert 200 == asked("GET", {}, "/live").status_code


def test_who_does_not_say_where_he_is_from_changes_nothing() -> None:
    """Browsers say it with each POST; others can call the gateway."""
    assert 403 == asked("POST", {}).status_code


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", ""])
def test_a_name_that_was_made_to_lead_here_reads_nothing(host: str) -> None:
    """A foreign page could otherwise read everything, under its own name."""
    assert 403 == asked("GET", {"host": host}).status_code


def test_a_page_loads_nothing_from_elsewhere() -> None:
    """Each answer says so, a refusal too."""
    for answer in (asked("GET", {}), asked("POST", {})):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert "nosniff" == answer.headers["x-content-type-options"]
