"""The gateway accepts its own names, and web pages of its own and of the allowed origins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from sidecart.chassis.server.request_head import LOOPBACK_HOSTS
from sidecart.chassis.settings import SettingError
from sidecart.edge import settings
from sidecart.edge.app import UNCHECKED_PATHS
from sidecart.edge.origins import OriginCheck

HOST = "localhost:8000"
SHOP = "https://shop.example"
DEFAULTS = settings.read({"AUTH": "off"})


def answer(
    method: str = "POST", path: str = "/order/create", origins: tuple[str, ...] = (), **headers: str
) -> httpx.Response:
    """Return the response to a request: 200 if the app behind the check saw it."""

    async def call() -> httpx.Response:
        check = OriginCheck(PlainTextResponse("in"), DEFAULTS.allowed_hosts, origins, UNCHECKED_PATHS)
        transport = httpx.ASGITransport(app=check)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=sent, content=b"{}")

    return asyncio.run(call())


def status(**request: Any) -> int:
    """Return the status of the response."""
    return answer(**request).status_code


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "[::1]", "localhost:"])
def test_the_names_of_this_machine_are_the_default(host: str) -> None:
    """Each port is accepted: the launcher chooses it."""
    assert 200 == status(host=host)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "localhost.", "[::2]", "::1", "127.0.0.1.a"]
)
def test_a_foreign_name_is_rejected(host: str) -> None:
    """A page whose name was made to resolve to this machine reads nothing."""
    assert 421 == status(host=host)
    assert 421 == status(method="GET", path="/order/1", host=host)


def test_a_request_without_a_host_is_no_browsers() -> None:
    """HTTP/1.0 needs none."""
    received: list[Mapping[str, object]] = []

    async def call() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request"}

        async def send(message: Mapping[str, object]) -> None:
            received.append(message)

        scope = {"type": "http", "method": "GET", "path": "/order/1", "headers": []}
        await OriginCheck(PlainTextResponse("in"), DEFAULTS.allowed_hosts)(scope, receive, send)

    asyncio.run(call())

    assert 200 == received[0]["status"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost:9999", "http://localhost", f"x://{HOST}", ""]
)
def test_a_page_of_another_origin_is_rejected(origin: str) -> None:
    """That includes the pages of other programs on this machine."""
    assert 403 == status(origin=origin)
    assert 403 == status(origin=origin, origins=(SHOP,))
    assert 403 == status(method="OPTIONS", origin=origin, access_control_request_method="POST")


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"https://{HOST}"])
def test_the_gateways_own_page_is_accepted(origin: str) -> None:
    """A proxy before the gateway may add TLS."""
    assert 200 == status(origin=origin)


def test_a_page_of_an_allowed_origin_may_call_and_read() -> None:
    """The preflight and the call name the origin, and no other one."""
    preflight = answer("OPTIONS", origins=(SHOP,), origin=SHOP, access_control_request_method="POST")
    call = answer(origins=(SHOP,), origin=SHOP)

    assert (200, SHOP) == (preflight.status_code, preflight.headers["access-control-allow-origin"])
    assert (200, SHOP) == (call.status_code, call.headers["access-control-allow-origin"])
    assert "location" in call.headers["access-control-expose-headers"].lower()
    assert "access-control-allow-credentials" not in call.headers


@pytest.mark.parametrize("path", ["/events/replies/OrderCreated", "/healthz", "/readyz"])
def test_sidecars_and_health_checks_may_use_any_name(path: str) -> None:
    """The sidecar's routes need the token, and the health routes show no data of a user."""
    assert path.startswith(UNCHECKED_PATHS)
    assert 200 == status(path=path, host="10.0.0.7:8000")


def test_the_names_and_origins_are_settings() -> None:
    """IPv6 addresses stand in brackets or not."""
    read = settings.read(
        {"ALLOWED_HOSTS": "Shop.example, ::1,[2001:db8::1]", "CORS_ORIGINS": "https://A.example:8443", "AUTH": "off"}
    )

    assert {"shop.example", "[::1]", "[2001:db8::1]"} | DEFAULTS.allowed_hosts == read.allowed_hosts
    assert set(LOOPBACK_HOSTS) == DEFAULTS.allowed_hosts
    assert ("https://a.example:8443",) == read.cors_origins
    assert () == DEFAULTS.cors_origins


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALLOWED_HOSTS", "shop.example:8000"),
        ("ALLOWED_HOSTS", "*"),
        ("CORS_ORIGINS", "*"),
        ("CORS_ORIGINS", "shop.example"),
        ("CORS_ORIGINS", "https://shop.example/"),
        ("CORS_ORIGINS", "https://shop.example:443"),
        ("CORS_ORIGINS", "http://shop.example:80"),
    ],
)
def test_a_wrong_name_stops_the_start(name: str, value: str) -> None:
    """The message names the setting."""
    with pytest.raises(SettingError, match=name):
        settings.read({name: value})
