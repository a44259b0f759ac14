"""Forward the page's requests to the gateway's public address, like any client's request.

The proxy forwards the commands and queries of the gateway's OpenAPI document, and no other request.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sidecart.chassis.server.request_head import LOOPBACK_HOSTS
from sidecart.monitor.flow import Call
from sidecart.monitor.gateway_api import DOCUMENTS, OPENAPI, GatewayApi, parse
from sidecart.monitor.page_tokens import PageTokens

PREFIX = "/api"
BODY_BYTES_MAX = 64 * 1024
SECONDS_MAX = 35.0
"""The gateway holds a request for at most 30 s."""
DOCUMENT_SECONDS_MAX = 3.0
"""For the OpenAPI document, because the page shows no form before."""
NO_TOKENS = "the page sends requests with tokens of the local issuer only, and the gateway has another one"
FORWARDED_HEADERS = ("prefer", "idempotency-key")
LOCAL: Mapping[str, str] = {"host": LOOPBACK_HOSTS[0]}
"""The Host header by which a server accepts a request as one of its own machine."""
RETURNED_HEADERS = ("content-type", "location", "retry-after", "preference-applied", "idempotency-key")


def gateway_client(url: str) -> httpx.AsyncClient:
    """An HTTP client of the gateway; it ignores the environment's proxy.

    It names this machine as the Host. The gateway accepts no other name without a setting, and in
    containers its address has another one.
    """
    return httpx.AsyncClient(base_url=url, timeout=SECONDS_MAX, trust_env=False, headers=LOCAL)


class GatewayProxy:
    """The gateway as the page sees it; `add_request` receives each answered POST."""

    def __init__(
        self,
        connect: Callable[[], httpx.AsyncClient],
        add_request: Callable[[Call], None],
        tokens: PageTokens | None,
        *,
        is_closed: bool = False,
    ) -> None:
        """Send the requests with `tokens`, if any. A closed proxy forwards documents only."""
        self._tokens = tokens
        self._is_closed = is_closed
        self._connect = connect
        self._add_request = add_request
        self._client: httpx.AsyncClient | None = None
        self._api: GatewayApi | None = None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Keep connections to the gateway open for the duration of the block."""
        async with self._connect() as self._client:
            yield

    def route(self) -> Route:
        """Return the route of all forwarded requests."""
        return Route(PREFIX + "/{path:path}", self._forward, methods=["GET", "POST"])

    async def api(self) -> GatewayApi | None:
        """Read the gateway's calls again; without an answer, return those of the last time."""
        try:
            answer = await self._gateway.get(OPENAPI, timeout=DOCUMENT_SECONDS_MAX)
            self._api = parse(msgspec.json.decode(answer.raise_for_status().content))
        except (httpx.HTTPError, ValueError):
            return self._api
        return self._api

    @property
    def _gateway(self) -> httpx.AsyncClient:
        assert self._client is not None, "it is connected"
        return self._client

    async def _forward(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PREFIX)
        api = self._api or await self.api()
        if api is None:
            return problem(502, "the gateway does not answer with its OpenAPI document")
        methods = api.methods(path)
        if not methods:
            return problem(404, "the page forwards the documented calls of the gateway only")
        if self._is_closed and path not in DOCUMENTS:
            return problem(403, NO_TOKENS)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in methods:
            return problem(405, f"the gateway documents {' and '.join(methods)} at this path")
        try:
            return await (self._post(path, request) if method == "POST" else self._get(path))
        except httpx.HTTPError as error:
            return problem(502, f"the gateway does not answer ({type(error).__name__})")

    async def _get(self, path: str) -> Response:
        return _relay(await self._gateway.get(path, headers=self._tokens.of_read() if self._tokens else {}))

    async def _read(self, path: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
        return _object((await self._gateway.get(path, headers=dict(headers))).content)

    async def _post(self, path: str, request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return problem(413, f"the page sends at most {BODY_BYTES_MAX} bytes")
        headers = {name: request.headers[name] for name in FORWARDED_HEADERS if name in request.headers}
        if self._tokens is not None and self._api is not None:
            headers |= await self._tokens.of_command(self._api, path, _object(body), self._read)
        requested_at = now_ms()
        answer = await self._gateway.post(path, content=body, headers={**headers, "content-type": "application/json"})
        self._add_request(
            Call(
                path,
                _object(body),
                answer.status_code,
                answer.reason_phrase.upper(),
                _object(answer.content),
                answer.headers.get("location", ""),
                requested_at,
                now_ms(),
            )
        )
        return _relay(answer)


def problem(status: int, detail: str) -> Response:
    """An error of the monitor, in the gateway's format."""
    body = {"type": "about:blank", "title": "The live page", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def now_ms() -> float:
    """The wall clock in whole milliseconds, like event times."""
    return time.time() * 1000 // 1


async def _body(request: Request) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return body


def _relay(answer: httpx.Response) -> Response:
    headers = {name: answer.headers[name] for name in RETURNED_HEADERS if name in answer.headers}
    return Response(answer.content, answer.status_code, headers)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)  # rejects lone surrogates, which a page could not receive
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
