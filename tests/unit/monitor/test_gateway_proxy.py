"""The gateway proxy forwards the documented calls of the gateway, and no other request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sidecart.monitor.flow import Call
from sidecart.monitor.gateway_proxy import BODY_BYTES_MAX, GatewayProxy, gateway_client
from tests.unit.monitor.test_gateway_api import shop_document

USER = "019bc0fd-89c0-78c9-9e0d-a0c3d985694a"


class Gateway:
    """A gateway that records its requests."""

    def __init__(self) -> None:
        self.document: object = shop_document()
        self.requests: list[tuple[str, str]] = []
        self.prefer: list[str | None] = []

    async def answer(self, request: Request) -> Response:
        """Respond to any request; the request for its document is not recorded."""
        if request.url.path == "/openapi.json":
            return JSONResponse(self.document)
        self.requests.append((request.method, request.url.path))
        self.prefer.append(request.headers.get("prefer"))
        if request.method == "GET":
            return JSONResponse({"user_id": USER})
        headers = {"location": "/there", "set-cookie": "no"}
        try:
            got = msgspec.json.decode(await request.body())
        except (ValueError, RecursionError):
            return JSONResponse({}, 400)
        return JSONResponse({"user_id": USER, "got": got}, 201, headers)


class Page:
    """A page that sends requests and records the resulting calls."""

    def __init__(self) -> None:
        self.gateway = Gateway()
        self.calls: list[Call] = []

    def ask(self, method: str, path: str, content: bytes = b"{}", headers: Mapping[str, str] = {}) -> httpx.Response:
        """Send a request to the monitor."""
        methods = ["GET", "POST", "DELETE"]
        shop = Starlette(routes=[Route("/{path:path}", self.gateway.answer, methods=methods)])
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app=shop), base_url="http://gateway")
        proxy = GatewayProxy(lambda: client, self.calls.append, None)

        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(app=Starlette(routes=[proxy.route()]))
            async with proxy.connected(), httpx.AsyncClient(transport=transport, base_url="http://page") as browser:
                return await browser.request(method, path, content=content, headers=headers)

        return asyncio.run(call())


def test_a_call_is_forwarded_unchanged() -> None:
    """Body, status and Location pass through; cookies do not; the flow receives the call."""
    page = Page()
    answer = page.ask("POST", "/api/user/register", b'{"name": "Ada"}', {"prefer": "wait=1", "cookie": "no"})

    assert (201, "/there", None) == (answer.status_code, answer.headers["location"], answer.headers.get("set-cookie"))
    assert {"user_id": USER, "got": {"name": "Ada"}} == answer.json()
    assert ([("POST", "/user/register")], ["wait=1"]) == (page.gateway.requests, page.gateway.prefer)
    [call] = page.calls
    assert ("/user/register", {"name": "Ada"}, 201, "CREATED") == (call.path, call.body, call.status, call.reason)
    assert "there" == call.resource
    assert call.requested_at <= call.answered_at


@pytest.mark.parametrize(
    "path",
    [f"/user/{USER}", f"/account/{USER}", f"/order/{USER}", f"/notification/{USER}", "/asyncapi.json"],
)
def test_a_read_is_forwarded(path: str) -> None:
    """A read is not part of a flow."""
    page = Page()

    assert 200 == page.ask("GET", f"/api{path}").status_code
    assert ([("GET", path)], []) == (page.gateway.requests, page.calls)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/readyz", 404),
        ("GET", "/api/dapr/subscribe", 404),
        ("GET", "/api/user/../readyz", 404),
        ("GET", f"/api/user/{USER}/../../readyz", 404),
        ("GET", "/api/user/ada", 404),
        ("POST", "/api/events/OrderPaid", 404),
        ("GET", "/api/user/register", 405),
        ("POST", f"/api/user/{USER}", 405),
        ("DELETE", f"/api/user/{USER}", 405),
    ],
)
def test_no_other_request_is_forwarded(method: str, path: str, status: int) -> None:
    """The gateway's paths for its sidecar stay unreachable."""
    page = Page()

    assert status == page.ask(method, path).status_code
    assert ([], []) == (page.gateway.requests, page.calls)


def test_a_body_has_a_size_limit() -> None:
    """The monitor holds the body in memory."""
    page = Page()

    assert 413 == page.ask("POST", "/api/user/register", b"x" * (BODY_BYTES_MAX + 1)).status_code
    assert [] == page.gateway.requests


def test_an_unreachable_gateway_is_a_502() -> None:
    """The response is a problem document, and no call is recorded."""
    calls: list[Call] = []

    proxy = GatewayProxy(lambda: gateway_client("http://127.0.0.1:9"), calls.append, None)

    async def story() -> httpx.Response:
        transport = httpx.ASGITransport(app=Starlette(routes=[proxy.route()]))
        async with proxy.connected(), httpx.AsyncClient(transport=transport, base_url="http://page") as browser:
            assert await proxy.api() is None
            return await browser.post("/api/order/create", json={})

    answer = asyncio.run(story())
    body: dict[str, Any] = answer.json()
    assert (502, "application/problem+json") == (answer.status_code, answer.headers["content-type"])
    assert "the gateway does not answer" in body["detail"]
    assert [] == calls


@pytest.mark.parametrize("name", ['"\\ud800"', "[" * 50_000], ids=["lone-surrogate", "nested-too-deeply"])
def test_invalid_json_is_forwarded(name: str) -> None:
    """The gateway rejects it, and viewers receive an empty body instead."""
    page = Page()

    assert 400 == page.ask("POST", "/api/user/register", f'{{"name": {name}}}'.encode()).status_code
    assert [{}] == [call.body for call in page.calls]


def test_a_new_call_is_forwarded_once_the_page_is_loaded_again() -> None:
    """Loading the page reads the gateway's document again; a failure keeps the former calls."""
    gateway, calls = Gateway(), list[Call]()
    app = Starlette(routes=[Route("/{path:path}", gateway.answer, methods=["GET", "POST"])])
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway")
    proxy = GatewayProxy(lambda: client, calls.append, None)
    command = {"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}}

    async def story() -> list[int]:
        transport = httpx.ASGITransport(app=Starlette(routes=[proxy.route()]))
        async with proxy.connected(), httpx.AsyncClient(transport=transport, base_url="http://page") as browser:
            statuses = [(await browser.post("/api/gift/give", json={})).status_code]
            gateway.document = {"paths": {"/gift/give": {"post": command}}}
            await proxy.api()
            statuses.append((await browser.post("/api/gift/give", json={})).status_code)
            gateway.document = {"no": "document"}
            await proxy.api()
            statuses.append((await browser.post("/api/gift/give", json={})).status_code)
            return statuses

    assert [404, 201, 201] == asyncio.run(story())
    assert ["/gift/give"] * 2 == [call.path for call in calls]


def test_the_gateway_sees_a_caller_of_its_own_machine() -> None:
    """In containers its address has a name that it would refuse (ALLOWED_HOSTS)."""

    async def request() -> httpx.Request:
        async with gateway_client("http://gateway:8000") as client:
            return client.build_request("GET", "/products")

    made = asyncio.run(request())
    assert ("gateway", ["localhost"]) == (made.url.host, made.headers.get_list("host"))
