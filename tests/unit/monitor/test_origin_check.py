"""The origin check accepts requests from the monitor's own page only."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse

from sidecart.monitor.origin_check import OriginCheck

PORT = 8001
SAME_ORIGIN = f"http://127.0.0.1:{PORT}"


def response_to(method: str, headers: dict[str, str], path: str = "/") -> httpx.Response:
    """The response to a request with these headers."""

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(app=OriginCheck(PlainTextResponse("in"), PORT))
        async with httpx.AsyncClient(transport=transport, base_url=SAME_ORIGIN) as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(call())


def test_the_monitors_own_page_is_accepted() -> None:
    """Both names of this machine are valid."""
    names = (f"127.0.0.1:{PORT}", f"localhost:{PORT}")

    assert [200, 200] == [response_to("GET", {"host": name}).status_code for name in names]
    assert [200, 200] == [response_to("POST", {"host": name, "origin": f"http://{name}"}).status_code for name in names]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", f"https://127.0.0.1:{PORT}", "http://127.0.0.1:80"])
def test_a_foreign_page_cannot_post(origin: str) -> None:
    """Browsers send the Origin header with each POST."""
    assert 403 == response_to("POST", {"origin": origin}).status_code


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_foreign_page_cannot_open_the_tap(site: str) -> None:
    """A foreign page may link to the page, but only the page itself and programs may open /live."""
    assert 200 == response_to("GET", {"sec-fetch-site": site}, "/").status_code
    assert 403 == response_to("GET", {"sec-fetch-site": site}, "/live").status_code
    assert 200 == response_to("GET", {"sec-fetch-site": "same-origin"}, "/live").status_code
    assert 200 == response_to("GET", {}, "/live").status_code


def test_a_post_without_an_origin_is_rejected() -> None:
    """Browsers always send it, and programs can call the gateway directly."""
    assert 403 == response_to("POST", {}).status_code


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", "127.0.0.1", ""])
def test_a_foreign_host_name_is_rejected(host: str) -> None:
    """DNS rebinding would otherwise let a foreign page read everything."""
    assert 403 == response_to("GET", {"host": host}).status_code


def test_responses_forbid_external_resources() -> None:
    """Rejections have the security headers, too."""
    for answer in (response_to("GET", {}), response_to("POST", {})):
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert "nosniff" == answer.headers["x-content-type-options"]
